"""The pure stages, in the order in which a prompt meets them: values in, values out.

shard -> dedup -> route -> batch -> plan -> quality -> settle -> reports

What serves one stage alone has a room beside it: proof/ (dedup), planning/ (plan), dialects/ (shard, settle), config/ (settings).

No Redis, HTTP, clock, FAISS, torch or asyncio in here; settings.py owns the environment, tokens.py tiktoken,
prices.py the price list, cron.py croniter and rendering.py jinja2.
"""
