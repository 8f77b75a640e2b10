// Package plan lays savings plans onto use, says which commitment would have been the best one, and simulates plans
// on a demand. It is arithmetic: no clock, and nothing that is kept.
//
// A plan commits to an amount in each of its intervals (a day of its zone, or an hour). Use draws it down at the
// plan's discount; what is left at the interval's end is lost, what is beyond it costs the list price. Which use is
// covered by which plan is decided by the highest discount first, then the lowest price, then the plan of the
// narrower scope (project, then class, then account, then all), the earlier start, the name. Use that is alike in
// these shares what is left of the commitment in proportion to its quantity.
package plan
