"""Schedule expressions: when a recurring task is enqueued.

**The rule.** An expression has five fields (minute, hour, day of month, month, day of week) or
six (with leading seconds), or is one of `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`,
`@midnight`, `@hourly`, or `@every` with a duration of at least one second, such as
`@every 1h30m`. A field is a list of values, ranges (`1-5`) and `*` or `?`, each perhaps with a
step (`*/15`; `5/15` runs from 5 to the end); months and weekdays may be English words of three
letters, Sunday is 0. If both day fields are restricted, a day that matches either counts; if
one is a star (also `*/1`, not `*/2`), the other decides. Times are those of the zone in the
prefix `TZ=Europe/Berlin` or `CRON_TZ=...`, else of `time_zone`, else UTC.

When clocks change, a schedule of *fixed times* (no star in the second, minute or hour, such as
`30 2 * * *`) fires once for each local time: a time that is skipped fires right after the gap,
a time that comes twice fires at the first. Several times in one gap are one firing. A schedule
that is an *interval* (a star there, such as `*/15 * * * *` or `0 * * * *`) keeps its rhythm: it
fires whenever the clock shows a matching time, in both passes, and nothing is made up for.
`@every` counts elapsed time from its anchor and has nothing to do with clocks. A date that never
comes is accepted and never fires.

**Why a search of its own.** The rule is that of robfig/cron for the fields, with changes of
clocks added. croniter differs in both (`*/1` as a day, empty list items, intervals in gaps,
repeated times; it takes a weekday 7, `L`, `W`, `#` and turned ranges), so it would have to be
checked before and corrected after each answer. With sets of bits the whole search is shorter than
that, and its cost is bounded.
"""

from tasques.domain.schedule.errors import InvalidScheduleError
from tasques.domain.schedule.schedule import Schedule
from tasques.domain.schedule.time_zone import load_time_zone

__all__ = ["InvalidScheduleError", "Schedule", "load_time_zone"]
