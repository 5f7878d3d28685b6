// Package deliveries holds the harness of the channel path: signed requests of
// simulated vendors (one file each, app_X_test.go) against the real front, webhook and turn
// functions, with the vendors' transcripts as the oracle.
//
// TestDeliveries plays a plan of messages in many conversations: a fifth of the
// requests are repeats, at once or at a distance; a tenth of the messages are sent
// after the next one of their conversation, and requests that fail are made again
// later, as vendors do, so that messages overtake each other. A vendor that tells of a
// message once (Discord, Google Chat), or asks three times more (Twilio), repeats
// nothing else; what it gave up may have been taken all the same, and is answered once
// then. Webhook and
// turn processes are killed with SIGKILL, turn processes are frozen while their
// messages are delivered again and then go on; the queue refuses messages; vendors
// answer sends with errors, with nothing or too late; every tenth answer takes two
// messages. TestAgents lets agents with
// personas talk in shared rooms and looks for anything of one conversation in
// another.
//
// What was accepted is what the harness saw a 2xx for. What became of it is read
// from the admin API, the simulators' transcripts, the model's prompts and the
// queue's deliveries, never from a table and with none of the product's code.
//
// Guarantees of the plan: a message meets at most two of the disturbances that
// cost a reception (killed, or frozen, or asked to wait by the vendor, in waves of
// their own), so that the queue's three receptions suffice and a dead letter is
// always a fault. The seed fixes the plan, not which process meets what.
//
// An outcome is right only with its cause: what the vendor did to the send, or a
// second reception. A plan that met none of its disturbances is refused, too.
//
// That the harness can fail is shown by mutants: builds of the functions with one
// guard taken out, each of which it must refuse for that reason.
package deliveries
