// Package scheduler decides which node a pod gets and whether a pod may change its size. It holds the
// ledger of what every node has promised, so a node is never promised twice.
//
// The core (core.go and the files around it) is a plain data structure: no goroutines, no clock, no
// randomness. What it decides on its own, because room became free, comes out as values. The same calls
// give the same decisions. Scheduler lets one call at a time into it; its callbacks run outside of that.
//
// # Placement
//
// Best fit: of the ready, uncordoned nodes with room, the one with the least free CPU, then the least free
// memory, then the first name. A search tree over the nodes, ordered so and augmented with the most free
// memory in each subtree, finds it in O(log nodes); a change of a node costs the same. A node name is looked up
// and, as in Kubernetes, passes by a cordon.
//
// Nodes with the same taints and classes are a pool with a tree of its own; within it a label that is asked for
// has one (fleet.go). A pod's rules are made into a plan (plan.go, compile.go), which names the smallest set
// of labels that all acceptable nodes have one of (search.go); the rest is tested on candidates. Rules about
// other pods look at crowds: the pods that a selector matches, counted by the domains of a topology (crowd.go,
// census.go). What is only preferred is searched for, not scored over all nodes (prefer.go).
//
// # Who gets room that becomes free
//
// Pods that run there first: the deferred resizes of that node, each that fits, in Kubernetes' order: by priority,
// then by QoS class, then by how long they wait. What they want counts as taken for pods that come, as in
// Kubernetes, so none of these starves them; among themselves one that doesn't fit holds up no other. A resize
// that is stored has best-effort pods of its node give way (reclaim.go). Then the pending pods, the highest rank first (pods that aren't best-effort before those
// that are, then by priority), then in the order of creation, each that fits; a pod that doesn't fit doesn't
// hold up those behind it. Pending pods of equal shape stand in one queue, so this costs
// O(shapes) for each pod placed, however many wait. No pod pends that fits anywhere: so whoever comes new
// takes only room that nobody who waits could use. What pods do to the crowds of others is followed up in the
// same call (social.go).
//
// A pod that pends makes room at the cost of lesser ones if that helps (preempt.go): the victims are told to go,
// and a claim keeps what they leave for the one that waits (claim.go).
//
// # Slots
//
// A slot is room that is held for a pod which is expected, by the tenant and template that it will have. Such
// a pod takes the one that has come farthest, in constant time and with the slot's UID. For everybody else a
// slot's room is as good as free, only asked for last: a pod that fits nowhere else, a resize, and whoever
// waits when a node becomes one for him get it, on the node where they fit best, and as few slots as need be
// are given up. A node that takes nothing new has no slots.
//
// # Pools
//
// A node's reflex pool is lent what is left after pods, resizes that wait, and slots (lend.go). Pods come first: CPU
// is taken back with the decision that needs it; memory once the node has heard of the smaller grant and holds no
// more, and until then who needs it has a claim. A slot takes CPU from a pool and never memory: it would have to
// wait, and it is there so that nobody does. A pod takes free memory before that of slots, and that before what is
// lent, since it needn't wait for those.
//
// # What counts against a node
//
// Of each pod the larger of what was admitted and what is actuated, for CPU and memory each: a pod that
// shrinks holds its room until its nodelet has reported the smaller size. To that comes what it has beyond its size
// while it starts (boost.go): the larger of what was granted and what its nodelet says it holds.
package scheduler
