// Package lambdahost runs unmodified aws-lambda-go binaries on the developer's
// machine: it is the Lambda service of the local stack, and never runs on AWS.
//
// # Flow
//
// A function is registered once ([Host.Register]). A call ([Host.Invoke],
// [Host.InvokeStream]) queues in the function's pool, which hands it to an idle
// environment (most recently used first), starts a further one up to
// Spec.MaxEnvironments, or lets it wait for at most Options.QueueWait
// (then [ErrThrottled]). One environment is one process, one Runtime API
// listener on 127.0.0.1 and one invocation at a time: the Runtime API names no
// environment, so the address does.
//
// An invocation is over when the process asks for the next one, not when its
// response has ended. A response is streamed when its Content-Type is
// application/vnd.awslambda.http-integration-response (JSON prelude, eight
// NULs, body); anything else is read whole.
//
// # Guarantees
//
//   - The bytes of a streamed body are handed on as they arrive; nothing is
//     buffered, a slow reader slows the function.
//   - A response the caller no longer reads is drained, so the function runs to
//     its end exactly as it would (and would be billed) on Lambda.
//   - At the deadline the process gets SIGKILL. One that registered an
//     extension gets SIGTERM at the deadline and SIGKILL 500 ms later.
//   - A process that dies is noticed at once; its caller gets [ErrCrashed] (a
//     body already begun ends with that error, never with a clean EOF). An event
//     that had not reached the process is given to another environment.
//   - Children see the variables that Lambda sets and Spec.Env, nothing of the
//     developer's environment. They die with the host, even with a SIGKILLed
//     one (Linux; elsewhere only [Host.Close] ends them).
//   - All methods are safe for concurrent use.
//
// # What the host does not imitate
//
//   - Isolation: no micro VM, no read-only file system, no /tmp quota, no memory
//     limit, no CPU share, no network policy. The working directory and
//     LAMBDA_TASK_ROOT are the binary's own folder.
//   - Freezing: a process keeps running between invocations.
//   - Idle environments are kept until Close; Lambda reaps them.
//   - Initialisation is not retried inside the invocation: a process that does not
//     ask for its first event within ten seconds is killed and the caller gets
//     [ErrInit].
//   - IAM, resource policies, versions, aliases, layers, SnapStart, provisioned
//     and reserved concurrency, tenant isolation, multi-concurrency, recursion
//     detection. A qualifier is accepted and ignored.
//   - Response bandwidth (2 MB/s after the first 6 MB) and cold start times.
//   - Extensions: register and a blocking event/next exist; INVOKE and SHUTDOWN
//     events, the telemetry and logs APIs do not.
//   - The log format: lines go to a file as they are, with the pid in front.
//   - Asynchronous retries and destinations (package front: an Event invocation
//     runs once).
//   - X-Ray: a trace id is handed out, unsampled, and nothing collects segments.
package lambdahost
