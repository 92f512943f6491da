"""Past one machine: buildings encoded by a cluster, one master database of a fleet, robots that keep a copy of it.

A published building is a *head* (a few hundred bytes of JSON) that names one object for each level. A level's object
is an index and the *units* it lists: the rows of one table that belong to one level or one place. Objects are named
by the SHA-256 of their index and units are listed by theirs, so that a head is enough to check every byte that
follows, and a robot that knows its own digests fetches only the byte ranges it lacks.

**Why robots read objects and not Lance.** The master is a Lance table (:mod:`.master`), which a server can search and
whose versions are its history. A robot could read it too, but would need pylance (about 480 MB installed) for what
plain HTTP, S3 or a folder can do; and a Lance table changes a whole row where a place's sentence changed. The objects
beside it repeat the content on cheap storage, need nothing but the standard library, and can lie behind any web
server. What both ways transfer and how long they take is measured by ``crossover bench fleet``; its figures are in
docs/fleet.md.

**What holds after a kill at any moment.** Publishing writes objects, then commits to the master, then replaces the
head: the head is what a reader goes by, so that half a publication is invisible, and repeating it completes it.
Pulling writes a new file beside the old one and renames it; what was fetched before a kill is kept in a journal and
not fetched again.
"""
