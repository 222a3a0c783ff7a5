// Package house owns the rules of this repository that a machine can check:
// who may import whom and why not, which words name no room, where the clock
// may be read, which modules we depend on and why. The rules are its tests.
//
// It does not own any code that runs in the server.
package house
