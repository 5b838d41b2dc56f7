"""What a client may submit: rows and tokens a day and month, submissions a minute, rows in the queue, dollars by its budget.

`take` asks every limit in one step and books the submission, or says which limit refuses and when it turns; days and months
are those of the configured zone, as for budgets. A booking has the name of the run that it is for: taken again, because
whoever took it was killed, it is the same booking. It answers no request and registers no run.
"""

from __future__ import annotations

import secrets

import msgspec

from pipelines import days, wire
from pipelines.config.sections import Client
from pipelines.money import usd_to_nusd
from producer.queue import Redis, now_ms

MINUTE_MS = 60_000
TICKET_MS = 120_000
"""So long rows that were taken count as waiting before their run is registered, should nobody say so. Who took them is
known for the month."""
DAY_KEPT_S, MONTH_KEPT_S = 3 * 86_400, 40 * 86_400

# A ticket is the run that was booked for, with the generation that this makes of it: `run.generation` -> `rows till day`.
_REGISTERED = """
local function registered(runs, ticket)
  local run, generation = string.match(ticket, '^(.*)%.(%d+)$')
  return (tonumber(redis.call('HGET', runs .. run, 'generation') or '') or -1) >= tonumber(generation)
end
"""

# KEYS: 1 minute  2 day  3 month  4 tickets  5 open runs  6 client's budget of the day  7 of the month
# ARGV: 1 rows  2 tokens  3 now_ms  4 ticket ('' book only the submission)  5 ticket_ms  6 client  7 run key prefix
#       8 day kept_s  9 month kept_s,
#       then limits ('' none): 10 submissions/minute  11 rows/day  12 rows/month  13 tokens/day  14 tokens/month
#       15 rows in queue  16 nano-dollars/day  17 nano-dollars/month; 18 submissions  19 day
# Returns {0, day} when it is booked, and on which day it was; else {number of the limit that refuses, limit, used, asked}, the
# first in this order.
_TAKE = (
    _REGISTERED
    + """
local rows, tokens, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = ARGV[4] ~= '' and redis.call('HGET', KEYS[4], ARGV[4])
local day = known and string.match(known, '(%S+)$') or ARGV[19]
local function ticket()
  redis.call('HSET', KEYS[4], ARGV[4], ARGV[1] .. ' ' .. string.format('%.0f', now + tonumber(ARGV[5])) .. ' ' .. day)
  redis.call('EXPIRE', KEYS[4], ARGV[9])
  return {0, day}
end
if known then return ticket() end
local function count(key, field) return tonumber(redis.call('HGET', key, field) or '0') or 0 end
local function waiting()
  local n = 0
  local tickets = redis.call('HGETALL', KEYS[4])
  for i = 1, #tickets, 2 do
    local taken, till = string.match(tickets[i + 1], '^(%d+) (%d+)')
    if taken and tonumber(till) > now and not registered(ARGV[7], tickets[i]) then n = n + tonumber(taken) end
  end
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[5])) do
    local r = redis.call('HMGET', ARGV[7] .. id, 'client', 'prepared', 'rows', 'rows_estimate', 'ok', 'duplicate', 'invalid',
                         'failed', 'refused')
    if r[1] == ARGV[6] then
      local total = tonumber(r[3] or '0') or 0
      if r[2] ~= '1' then total = math.max(total, tonumber(r[4] or '0') or 0) end
      for i = 5, 9 do total = total - (tonumber(r[i] or '0') or 0) end
      n = n + math.max(0, total)
    end
  end
  return n
end
local function spent(key, limit)  -- a budget that was set by hand wins
  local s = redis.call('HMGET', key, 'limit', 'spent')
  return tonumber(s[1] or limit) or math.huge, tonumber(s[2] or '0') or 0
end
local asks = {
  {ARGV[10], function() return count(KEYS[1], 'submissions') end, tonumber(ARGV[18])},
  {ARGV[11], function() return count(KEYS[2], 'rows') end, rows},
  {ARGV[12], function() return count(KEYS[3], 'rows') end, rows},
  {ARGV[13], function() return count(KEYS[2], 'tokens') end, tokens},
  {ARGV[14], function() return count(KEYS[3], 'tokens') end, tokens},
  {ARGV[15], waiting, rows},
}
for i, ask in ipairs(asks) do
  if ask[1] ~= '' then
    local used = ask[2]()
    if used + ask[3] > tonumber(ask[1]) then return {i, ask[1], string.format('%.0f', used), string.format('%.0f', ask[3])} end
  end
end
for i = 16, 17 do
  if ARGV[i] ~= '' then
    local limit, used = spent(KEYS[i - 10], ARGV[i])
    if used >= limit then return {i - 9, string.format('%.0f', limit), string.format('%.0f', used), '0'} end
  end
end
redis.call('HINCRBY', KEYS[1], 'submissions', ARGV[18])
redis.call('PEXPIRE', KEYS[1], 120000)
if ARGV[4] == '' then return {0, day} end
for i = 2, 3 do
  redis.call('HINCRBY', KEYS[i], 'rows', ARGV[1])
  redis.call('HINCRBY', KEYS[i], 'tokens', ARGV[2])
  redis.call('EXPIRE', KEYS[i], ARGV[6 + i])
end
return ticket()
"""
)

# KEYS: 1 tickets  2 day  3 month | ARGV: 1 ticket  2 rows  3 tokens  4 run key prefix
_GIVE_BACK = (
    _REGISTERED
    + """
local there = redis.call('HDEL', KEYS[1], ARGV[1]) == 1
if not there or registered(ARGV[4], ARGV[1]) then return 0 end
for i = 2, 3 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('HINCRBY', KEYS[i], 'rows', 0 - tonumber(ARGV[2]))  -- not -n: minus nought is no integer to Redis
    redis.call('HINCRBY', KEYS[i], 'tokens', 0 - tonumber(ARGV[3]))
  end
end
return 1
"""
)

LIMITS = (
    "submissions_per_minute", "rows_per_day", "rows_per_month", "tokens_per_day", "tokens_per_month", "rows_in_queue",
    "usd_per_day", "usd_per_month",
)  # fmt: skip
"""In the order in which they are asked."""


class Refused(msgspec.Struct, frozen=True):
    """The limit that stands in the way; `reset_ms` (unix ms) is None where no turn of the clock helps. Dollars are in nano."""

    limit: str
    allowed: int
    used: int
    asked: int
    reset_ms: int | None

    @property
    def code(self) -> str:
        return "rate_limit_exceeded" if self.limit == "submissions_per_minute" else "quota_exceeded"

    @property
    def message(self) -> str:
        if self.limit.startswith("usd_"):
            return f"{self.limit}: the client's budget is spent"
        what = self.limit.partition("_")[0]
        return (
            f"{self.limit}: {self.used:,} of {self.allowed:,} {what} are used, this submission asks for {self.asked:,}"
        )


class Taken(msgspec.Struct, frozen=True):
    """A submission that was booked; `landed` when its run is registered, `give_back` when it will not be."""

    client: str
    ticket: str
    rows: int
    tokens: int
    day: str


async def take(
    redis: Redis,
    keys: wire.Keys,
    terms: Client,
    client: str,
    *,
    rows: int,
    tokens: int = 0,
    submissions: int = 1,
    timezone: str = "UTC",
    at_ms: int | None = None,
    ticket: str = "",
) -> Taken | Refused:
    """Books a submission of a client, or nothing at all. `terms` is its section of the configuration; `submissions` is 0
    for one that counted when it came, before its size was known; `ticket` is the booking's name."""
    ticket = ticket or ticket_of(secrets.token_hex(8), 0)
    return await _ask(redis, keys, terms, client, rows, tokens, submissions, timezone, at_ms, ticket)


async def count(
    redis: Redis, keys: wire.Keys, terms: Client, client: str, *, timezone: str = "UTC", at_ms: int | None = None
) -> Refused | None:
    """Counts a submission whose size nobody knows yet; refused when not even one more row may be submitted."""
    asked = await _ask(redis, keys, terms, client, 1, 0, 1, timezone, at_ms, "")
    return asked if isinstance(asked, Refused) else None


def ticket_of(run_id: str, generation: int) -> str:
    """What is booked is a run, or what it asks again when it becomes of this generation."""
    return f"{run_id}.{generation}"


async def _ask(
    redis: Redis, keys: wire.Keys, terms: Client, client: str, rows: int, tokens: int, submissions: int, timezone: str,
    at_ms: int | None, ticket: str,
) -> Taken | Refused:  # fmt: skip
    at_ms = await now_ms(redis) if at_ms is None else at_ms
    day = days.day(at_ms, timezone)
    quota, budget = terms.quota, terms.budget
    names = [
        keys.quota(f"{client}:minute:{at_ms // MINUTE_MS}"), *_counters(keys, client, day), keys.open_runs,
        keys.budget(f"client:{client}:day:{day}"), keys.budget(f"client:{client}:month:{day[:7]}"),
    ]  # fmt: skip
    limits = [
        *(getattr(quota, name) for name in LIMITS[:6]),
        *(None if usd is None else usd_to_nusd(usd) for usd in (budget.daily_usd, budget.monthly_usd)),
    ]
    told = [
        rows, tokens, at_ms, ticket, TICKET_MS, client, keys.run(""), DAY_KEPT_S, MONTH_KEPT_S,
        *("" if limit is None else limit for limit in limits), submissions, day,
    ]  # fmt: skip
    refused, *figures = await redis.eval(_TAKE, len(names), *names, *(str(each) for each in told))
    if not refused:
        return Taken(client, ticket, rows, tokens, figures[0])
    limit = LIMITS[int(refused) - 1]
    allowed, used, asked = (int(figure) for figure in figures)
    return Refused(limit, allowed, used, asked, None if asked > allowed else _reset_ms(limit, at_ms, timezone))


async def landed(redis: Redis, keys: wire.Keys, taken: Taken) -> None:
    """The run is registered: from now on its rows count as waiting by themselves."""
    await redis.hdel(_counters(keys, taken.client, taken.day)[2], taken.ticket)


async def give_back(redis: Redis, keys: wire.Keys, taken: Taken) -> bool:
    """Undoes a booking, once, unless its run is there after all; that it was tried still counts towards the minute."""
    day, month, tickets = _counters(keys, taken.client, taken.day)
    told = [taken.ticket, str(taken.rows), str(taken.tokens), keys.run("")]
    return bool(await redis.eval(_GIVE_BACK, 3, tickets, day, month, *told))


def _counters(keys: wire.Keys, client: str, day: str) -> list[str]:
    """Of the day, of the month, and the month's tickets."""
    return [keys.quota(f"{client}:{each}") for each in (f"day:{day}", f"month:{day[:7]}", f"tickets:{day[:7]}")]


def _reset_ms(limit: str, at_ms: int, timezone: str) -> int | None:
    if limit.endswith("_minute"):
        return (at_ms // MINUTE_MS + 1) * MINUTE_MS
    if limit.endswith("_day"):
        return days.next_day_ms(at_ms, timezone)
    return days.next_month_ms(at_ms, timezone) if limit.endswith("_month") else None
