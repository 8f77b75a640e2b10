// Package rating prices segments. It is a pure fold: the same segments, in any order and cut into any
// partition, make the same bill.
package rating
