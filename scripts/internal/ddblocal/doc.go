// Package ddblocal runs DynamoDB Local, the real engine, for the local stack
// and for tests.
//
// Guarantees: the engine listens on 127.0.0.1 only, on a port the kernel
// picked (no collisions, no race between choosing and binding); it sends no
// telemetry and is given none of the caller's environment; it ends when its
// parent ends, also by SIGKILL (its standard input closes, and on Linux the
// kernel kills it); one data directory is used by one engine at a time; data in
// a directory survives restarts, streams included.
//
// Flow: [Start] compiles Launcher.java once into the cache directory (about a
// second, later starts skip it), runs it with the jars of the npm package
// amplify-dynamodb-simulator and waits for its port; [EnsureTables] creates the
// tables.
//
// Not imitated by the engine (version 1.25.1): throttling, capacity limits and
// TransactionConflict, the capacity figures of transactions, point-in-time
// recovery, several partitions and so several shards, authorisation (any
// credentials are accepted), the clock of the stack (its time is the wall
// clock; record times are shifted by the stream poller).
package ddblocal
