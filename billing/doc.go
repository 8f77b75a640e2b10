// Package billing is the vocabulary of money: prices, quantities, amounts, and the price book they come
// from. Its children rate segments (rating) and keep them (ledger).
//
// Money is integers all the way. A price is in 1e-12 of the currency per resource-millisecond, an amount
// is summed in 128 bits, and rounding happens once per line of a bill, half to even, to whole millionths.
package billing
