"""What a server does beside answering requests.

Every server runs an elector (`elector`), which keeps trying to become the leader or to stay it,
and all chores. A chore is one pass of work, begun again every interval, and only while this server
leads (`service`). Chores ask `is_leader` again before each batch they write. The scheduler is a loop of
its own, as it has to do something at instants rather than at intervals.

Nothing is started or stopped when the lead changes hands, and nothing needs to be: every write is
conditional on what was read, or creates what must not exist. A server that lost the lead without
knowing it can waste work, but it can not undo or double what the next leader does.

A pass that fails is logged and tried again at the next interval. A loop that fails is a bug, and
ends the process: half a server would be worse than none.
"""
