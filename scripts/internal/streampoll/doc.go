// Package streampoll is the event source mapping between a DynamoDB stream and
// a function, as AWS Lambda runs it, for the local stack.
//
// Guarantees: every record is delivered at least once, in stream order per
// item; parent shards end before their children start; a checkpoint in a file
// moves only past records that succeeded, were filtered out, or lie in the
// failure destination, so a restart (also after a kill) resumes without loss; a
// record that keeps failing ends in the failure destination and the stream goes
// on; a throttled invocation is repeated without using up retries.
//
// Flow: [Poller.Run] lists the shards and reads each with one reader. The reader
// turns records into event JSON, applies the filters and hands them to lanes (one
// per parallelization slot, chosen by the item's keys). A lane forms batches,
// invokes the function and applies retries, bisection and partial failures. The
// shard's tracker lets the checkpoint follow the oldest unfinished record.
//
// A response that names the first record of the batch as failed counts as a
// complete failure, and so does an unreadable one, an empty id or an id that is
// not in the batch. With BisectOnError a complete failure of several records
// halves the batch, and a partial one cuts it at the reported record; neither
// uses up retries. What AWS does with a report of the very first record under
// BisectOnError is not documented precisely: handlers should not rely on the
// halving, but finish what they can and report the first failure.
//
// Not imitated: tumbling windows, the LATEST starting position, splitting of
// records above the payload limit, encrypted filters, the one-day retention
// (records live as long as the engine keeps them), the delay of minutes with
// which AWS enables or disables a mapping, metrics. After a restart lanes beyond
// the first may see finished records again. Record times are the engine's wall
// clock plus the clock's offset at the moment of reading. Dates in object keys
// of the failure destination follow the documented S3 layout
// (docs.aws.amazon.com/lambda, "Retain discarded records", read 2026-11).
package streampoll
