// Package budgets watches what projects and accounts spend in a calendar month, tells when thresholds are reached,
// and has creates and larger sizes refused, and pods ended, once a budget with a hard stop is spent.
//
// The core is pure: a budget looks at a time and at what was spent, and answers what is to be shown and done. The
// controller asks for the spending, about once a second while there are budgets, and does it. Whether a create is
// refused is read from memory. Crossings and the time at which a budget was spent are stored, so that a control
// plane that starts anew refuses from its first request on, and neither alerts twice nor begins the grace again.
package budgets
