package topology

import "time"

// Metric is a figure that a function writes into its log: the value of Field in
// the lines whose message is Message, or 1 per line without a field. A test of the
// function holds it to that.
type Metric struct {
	Name, Function, Message, Field string
}

// Names of metrics.
const (
	PoisonMetric   = "Poison"
	UnbilledMetric = "UnbilledAtMost"
	ChargedMetric  = "Charged"
	MismatchMetric = "ReconcileMismatch"
	UnpricedMetric = "UnpricedAction"
	HookAlarm      = "WebhookAlarm"
	TurnAlarm      = "TurnAlarm"
	GaveUpMetric   = "TurnGaveUp"
)

// Metrics lists the figures that alarms are made of.
func Metrics() []Metric {
	return []Metric{
		{PoisonMetric, Sweep, "swept", "poison"},
		{UnbilledMetric, Sweep, "swept", "unbilled_at_most"},
		{ChargedMetric, Settle, "settled", "amount"},
		{MismatchMetric, Sweep, "reconcile mismatch", ""},
		{HookAlarm, Webhook, "audit alarm", ""},
		{TurnAlarm, Turn, "audit alarm", ""},
		{GaveUpMetric, Turn, "a message was given up", ""},
		{UnpricedMetric, Turn, "channel messages have no price, so none is answered: lk prices import --curated --activate", ""},
	}
}

// Alarm is told when a figure stands above a limit for some periods. Exactly one of
// Log, OfFunction, OfStream, OfQueue and Expression says which figure.
type Alarm struct {
	Name string
	// About says what it means and what to do first.
	About string
	// Log is a [Metric].
	Log string
	// OfFunction is a function, OfStream one whose stream mapping counts the metric
	// Of, OfQueue a queue whose dead letters are counted.
	OfFunction, OfStream, OfQueue string
	Of                            string
	// Expression is CloudWatch metric math over the log metrics, by their names in
	// lower case.
	Expression string

	Statistic string // Maximum or Sum
	Above     float64
	Period    time.Duration
	Periods   int
	// Silence says that no figure at all is as bad as one above the limit.
	Silence bool
}

// Alarms lists what somebody has to be woken for.
func Alarms() []Alarm {
	return []Alarm{
		{Name: "settle-lags", About: "Settlement is more than 15 s behind: holds stay open and refuse people who have credit. Look at settle's errors and throttles.",
			OfFunction: Settle, Of: "IteratorAge", Statistic: "Maximum", Above: 15_000, Period: time.Minute, Periods: 2},
		{Name: "settle-gave-up", About: "Records of the ledger's stream were given up after eight tries; they lie in the failures bucket. The sweep settles the requests, and makes up for rows and events within a day.",
			OfStream: Settle, Of: "OnFailureDestinationDeliveredEventCount", Statistic: "Sum", Above: 0, Period: time.Minute, Periods: 1},
		{Name: "settle-dropped", About: "Records of the ledger's stream were dropped, and not even kept as failures. The sweep settles the requests, and makes up for rows and events within a day.",
			OfStream: Settle, Of: "DroppedEventCount", Statistic: "Sum", Above: 0, Period: time.Minute, Periods: 1},
		{Name: "turn-dead-letters", About: "Messages from channels were given up. They lie in the dead letter queue.",
			OfQueue: TurnQueue, Of: "ApproximateNumberOfMessagesVisible", Statistic: "Maximum", Above: 0, Period: 5 * time.Minute, Periods: 1},
		{Name: "turn-gave-up", About: "People were told to ask again later: a model, the ledger or the vault did not answer for all receptions of a message. The audit record turn.gave_up in turn's log has the code.",
			Log: GaveUpMetric, Statistic: "Sum", Above: 0, Period: 5 * time.Minute, Periods: 1},
		{Name: "webhook-identity", About: "An active install has lost its secret, or a valid signature came with another tenant's event. The audit record in webhook's log names the install.",
			Log: HookAlarm, Statistic: "Sum", Above: 0, Period: 5 * time.Minute, Periods: 1},
		{Name: "reply-identity", About: "A queued message did not belong to its install; nothing was sent. The audit record in turn's log names it.",
			Log: TurnAlarm, Statistic: "Sum", Above: 0, Period: 5 * time.Minute, Periods: 1},
		{Name: "ledger-poison", About: "Settlement cannot process something, or sweep has not run for a quarter of an hour. See lk poison list.",
			Log: PoisonMetric, Statistic: "Maximum", Above: 0, Period: 15 * time.Minute, Periods: 1, Silence: true},
		{Name: "ledger-mismatch", About: "A balance differs from its entries or holds, three times in a row. See lk reconcile --deep.",
			Log: MismatchMetric, Statistic: "Sum", Above: 0, Period: 5 * time.Minute, Periods: 1},
		{Name: "action-unpriced", About: "Channels do not answer, because posting an answer has no price. lk prices import --curated --activate adds one, which is 0.",
			Log: UnpricedMetric, Statistic: "Sum", Above: 0, Period: 5 * time.Minute, Periods: 1},
		{Name: "ledger-unbilled", About: "Calls that may have been answered and were not billed are worth up to a thousandth of what was charged in a day. See lk unbilled.",
			Expression: "IF(FILL(unbilledatmost, 0) * 1000 > FILL(charged, 0), 1, 0)", Statistic: "Sum", Above: 0, Period: 24 * time.Hour, Periods: 1},
	}
}
