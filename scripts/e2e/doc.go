// Package e2e holds the end-to-end tests: real function processes, real HTTP,
// the real database engine, with the simulated vendor upstream. They start one
// stack per test binary and run with ./scripts/test.
package e2e
