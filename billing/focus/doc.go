// Package focus writes bills as FOCUS says (FinOps Open Cost and Usage Specification), versions 1.2 and 1.4, as CSV
// and as Parquet, and checks files against FOCUS's rules, whoever wrote them.
//
// Charges are folded to rows (fold.go), a row is a list of values in the order of its columns (column.go), and
// whatever a row says is exact: unit price × quantity is the cost to the last of its 21 decimal places.
package focus
