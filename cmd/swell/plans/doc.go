// Package plans is where savings plans as the API has them meet billing's: what may be bought, on which terms, and
// what a bill is made by.
package plans
