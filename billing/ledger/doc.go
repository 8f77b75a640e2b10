// Package ledger keeps metering segments, each once, and what people say about them.
//
// Closed segments are facts: they are added, never changed, and known by their id. A segment that arrives twice is
// the same one; if it says something else the second time, the first stands, and the second is kept beside it and
// reported. Whoever has to set a fact right appends a correction, which readers see in its place. Open segments are
// what nodes last said goes on; they are replaced as a whole per node, are kept in memory alone, and one whose
// closed twin has arrived doesn't count.
//
// Everything that is recorded gets a number, its record, which rises in the order in which it became durable. What a
// bill was made of is said by one such number: everything through it.
//
// A store keeps it, SQLite or PostgreSQL, and both pass one suite. A segment belongs to the partition of the UTC day
// in which it starts. Both stores know the same tables:
//
//	ledger      one row: version, newest record, horizon (what ended before it is expired)
//	ids         (pod, generation, sequence) → start, end, digest of every segment: one index over all days
//	segments    the day's partition: (day, pod, generation, sequence) → record, time of arrival, contents
//	facts       corrections, adjustments, invoices, price books, refused segments: (kind, id), subject, JSON
//	lifecycles  (day of the start, pod UID) → when a pod lived, as its status told
package ledger
