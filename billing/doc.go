// Package billing is the vocabulary of money: quantities, prices, amounts, what is sold (SKUs, items), what a bill
// is made of (lines, charges), and savings plans. Its children keep segments (ledger), rate them (rating), apply
// plans (plan), and tell of it (report, focus).
//
// Money is integers all the way. A price is in 1e-12 of the currency per unit and hour, a quantity in 1e-9 unit-hours,
// and their product, Money, is exact in 1e-21 of the currency. What is rounded is a segment's quantity of each
// resource, once; amounts are rounded where they are written for people, never where they are summed.
package billing
