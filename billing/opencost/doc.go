// Package opencost answers OpenCost's allocation API from charges, so that its clients work: the same parameters, the
// same names, the same JSON (opencost.io/docs/integrations/api).
//
// What differs follows from what Swell bills. An allocation is a pod, not a container, at its billed size; what it
// used of that isn't metered, so usage and efficiency are null. Costs are at list price, and the adjustments beside
// them are what savings plans took off, so that a total is what the use costs with plans. Commitments that were left
// unused are the allocation __idle__, which is there if it is asked for.
package opencost
