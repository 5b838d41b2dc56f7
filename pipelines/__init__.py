"""The pure stages, in the order in which a prompt meets them: values in, values out.

shard -> dedup -> route -> batch -> plan -> quality -> settle -> reports

No Redis, HTTP, clock, FAISS, torch or asyncio in here; settings.py owns the environment, tokens.py tiktoken,
prices.py the price list, cron.py croniter and rendering.py jinja2.
"""
