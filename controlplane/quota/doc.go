// Package quota counts what the namespaces that have a ResourceQuota hold, and refuses what would be beyond it.
//
// A namespace with quotas has a tally: of each object of a counted resource what it counts with (a claim), and of each
// quota the sum of those that it is about. A create or a resize charges its claim before it is committed and settles
// it afterwards; an object counts with the most of what is stored and of what is charged. So a sum is never below what
// is stored, however many charge at once, and a commit that fails gives its part back:
//
//	charge ── commit ── settle(stored)      the claim becomes what is stored
//	      └── commit fails ── settle(nil)   it is forgotten
//
// What else changes what is stored (a status, a deletion, an end) is followed by the store's events, each of which has
// a version; of two words about an object the one with the higher version holds. When the control plane starts, or
// falls behind, it lists.
//
// A namespace without quotas has no tally and pays a look into a map.
package quota
