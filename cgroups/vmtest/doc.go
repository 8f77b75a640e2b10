// Package vmtest runs the suites of the packages that write control groups once more, in a virtual machine
// on version 2. It holds tests only.
package vmtest
