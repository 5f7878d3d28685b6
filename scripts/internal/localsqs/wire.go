package localsqs

import (
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// maxRequestBody bounds a request: a full batch of 1 MiB, with room for JSON
// escapes.
const maxRequestBody = 8 << 20

// input is the union of the members of all requests.
type input struct {
	QueueName                   string
	QueueNamePrefix             string
	QueueURL                    string `json:"QueueUrl"`
	Attributes                  map[string]string
	AttributeNames              []string
	MessageSystemAttributeNames []string
	MessageAttributeNames       []string
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int
	WaitTimeSeconds             *int
	ReceiptHandle               string
	sendInput
	Entries []entryInput
}

// sendInput is a message as requests carry it.
type sendInput struct {
	MessageBody             string
	DelaySeconds            *int
	MessageGroupID          string `json:"MessageGroupId"`
	MessageDeduplicationID  string `json:"MessageDeduplicationId"`
	MessageAttributes       map[string]Attribute
	MessageSystemAttributes map[string]Attribute
}

// entryInput is one entry of any batch.
type entryInput struct {
	ID                string `json:"Id"`
	ReceiptHandle     string
	VisibilityTimeout *int
	sendInput
}

// call is one decoded request.
type call struct {
	input
	r         *http.Request
	principal string
	queue     string // name from QueueUrl
}

// operation is how a target is served: the IAM action it needs on the queue and
// the method that runs it.
type operation struct {
	action string
	run    func(*Engine, *call) (any, error)
}

// operations maps the target to its operation. Never written.
var operations = map[string]operation{
	"CreateQueue":                  {"CreateQueue", (*Engine).wireCreateQueue},
	"GetQueueUrl":                  {"GetQueueUrl", (*Engine).wireGetQueueURL},
	"ListQueues":                   {"ListQueues", (*Engine).wireListQueues},
	"GetQueueAttributes":           {"GetQueueAttributes", (*Engine).wireGetQueueAttributes},
	"SetQueueAttributes":           {"SetQueueAttributes", (*Engine).wireSetQueueAttributes},
	"PurgeQueue":                   {"PurgeQueue", (*Engine).wirePurgeQueue},
	"SendMessage":                  {"SendMessage", (*Engine).wireSend},
	"SendMessageBatch":             {"SendMessage", (*Engine).wireSendBatch},
	"ReceiveMessage":               {"ReceiveMessage", (*Engine).wireReceive},
	"DeleteMessage":                {"DeleteMessage", (*Engine).wireDelete},
	"DeleteMessageBatch":           {"DeleteMessage", (*Engine).wireDeleteBatch},
	"ChangeMessageVisibility":      {"ChangeMessageVisibility", (*Engine).wireChangeVisibility},
	"ChangeMessageVisibilityBatch": {"ChangeMessageVisibility", (*Engine).wireChangeVisibilityBatch},
}

// ServeHTTP implements http.Handler.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service, name := awswire.Target(r)
	if service != "AmazonSQS" {
		awswire.WriteError(w, awswire.JSON10, awswire.NewError("UnknownOperationException", "the target is not an SQS operation"))
		return
	}
	e.calls.Add(awswire.Principal(r), name)
	e.handler.ServeHTTP(w, r)
}

func (e *Engine) serve(w http.ResponseWriter, r *http.Request) {
	out, err := e.run(r)
	if err != nil {
		awswire.WriteError(w, awswire.JSON10, awswire.AsError(err))
		return
	}
	awswire.WriteJSON(w, awswire.JSON10, out)
}

func (e *Engine) run(r *http.Request) (any, error) {
	_, name := awswire.Target(r)
	op, ok := operations[name]
	if !ok {
		return nil, &awswire.Error{Code: "UnsupportedOperation", QueryCode: "AWS.SimpleQueueService.UnsupportedOperation", Message: "the local queue service has no operation " + name}
	}
	body, err := awswire.ReadBody(r, maxRequestBody)
	if err != nil {
		return nil, err
	}
	c := &call{r: r, principal: awswire.Principal(r)}
	if err := awswire.Decode(body, &c.input); err != nil {
		return nil, err
	}
	switch name {
	case "ListQueues":
		c.queue = "*"
	case "CreateQueue", "GetQueueUrl":
		c.queue = c.QueueName
	default:
		if c.QueueURL == "" {
			return nil, missingParameter("QueueUrl")
		}
		c.queue = c.QueueURL[strings.LastIndexByte(c.QueueURL, '/')+1:]
	}
	admin := e.cfg.Admin != "" && c.principal == e.cfg.Admin
	if !admin && !e.cfg.Allow.Permits(c.principal, c.queue, op.action) {
		return nil, &awswire.Error{
			Status: http.StatusForbidden, Code: "AccessDeniedException", QueryCode: "AccessDenied",
			Message: "principal " + c.principal + " is not authorized to perform sqs:" + op.action + " on queue " + c.queue,
		}
	}
	return op.run(e, c)
}

func (e *Engine) urlFor(r *http.Request, name string) string { return e.URL("http://"+r.Host, name) }

func (e *Engine) wireCreateQueue(c *call) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q, ok := e.queues[c.QueueName]; ok {
		have := e.attributesOf(q)
		for k, v := range c.Attributes {
			if have[k] != v {
				return nil, &awswire.Error{
					Code: "QueueNameExists", QueryCode: "QueueAlreadyExists",
					Message: "a queue of this name exists with another value for " + k,
				}
			}
		}
	} else if _, err := e.createQueue(c.QueueName, c.Attributes); err != nil {
		return nil, err
	}
	return map[string]string{"QueueUrl": e.urlFor(c.r, c.QueueName)}, nil
}

func (e *Engine) wireGetQueueURL(c *call) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.find(c.QueueName); err != nil {
		return nil, err
	}
	return map[string]string{"QueueUrl": e.urlFor(c.r, c.QueueName)}, nil
}

func (e *Engine) wireListQueues(c *call) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	urls := []string{}
	for _, name := range e.names() {
		if strings.HasPrefix(name, c.QueueNamePrefix) {
			urls = append(urls, e.urlFor(c.r, name))
		}
	}
	return map[string]any{"QueueUrls": urls}, nil
}

func (e *Engine) wireGetQueueAttributes(c *call) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(c.queue)
	if err != nil {
		return nil, err
	}
	if err := e.expire(q, e.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	all := e.attributesOf(q)
	out := make(map[string]string)
	for _, name := range c.AttributeNames {
		if name == "All" {
			return map[string]any{"Attributes": all}, nil
		}
		value, ok := all[name]
		if ok {
			out[name] = value
		} else if !knownAttribute(name) {
			return nil, unknownAttribute(name)
		}
	}
	return map[string]any{"Attributes": out}, nil
}

// knownAttribute reports whether a name exists, though this queue has no value.
func knownAttribute(name string) bool {
	return keptOnly[name] || choices[name] != nil || name == attrRedrive || name == attrFifoQueue
}

func (e *Engine) wireSetQueueAttributes(c *call) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(c.queue)
	if err != nil {
		return nil, err
	}
	if _, ok := c.Attributes[attrFifoQueue]; ok {
		return nil, unknownAttribute(attrFifoQueue)
	}
	return struct{}{}, e.setAttributes(q, c.Attributes)
}

func (e *Engine) wirePurgeQueue(c *call) (any, error) { return struct{}{}, e.Purge(c.queue) }

// outgoing turns the request form of a message into the engine's.
func (in sendInput) outgoing(principal string) (Outgoing, error) {
	out := Outgoing{
		Body: in.MessageBody, Attributes: in.MessageAttributes, Group: in.MessageGroupID,
		Dedup: in.MessageDeduplicationID, Delay: seconds(in.DelaySeconds), Sender: principal,
	}
	for name, a := range in.MessageSystemAttributes {
		if name != "AWSTraceHeader" || a.DataType != "String" || a.StringValue == nil {
			return out, invalidParameter("the only message system attribute is AWSTraceHeader, a String")
		}
		out.Trace = *a.StringValue
	}
	return out, nil
}

func seconds(n *int) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}

// sendResult is the answer to one accepted message. The digests are those of
// what was sent, also when it repeats an earlier message.
type sendResult struct {
	ID               string `json:"Id,omitempty"`
	MessageID        string `json:"MessageId"`
	MD5Body          string `json:"MD5OfMessageBody"`
	MD5Attributes    string `json:"MD5OfMessageAttributes,omitempty"`
	MD5SystemAttribs string `json:"MD5OfMessageSystemAttributes,omitempty"`
	SequenceNumber   string `json:"SequenceNumber,omitempty"`
}

func (e *Engine) sendOne(c *call, in sendInput) (sendResult, error) {
	out, err := in.outgoing(c.principal)
	if err != nil {
		return sendResult{}, err
	}
	sent, err := e.Send(c.queue, out)
	if err != nil {
		return sendResult{}, err
	}
	return sendResult{
		MessageID: sent.ID, SequenceNumber: sent.SequenceNumber, MD5Body: md5Hex(in.MessageBody),
		MD5Attributes: md5Attributes(in.MessageAttributes), MD5SystemAttribs: md5Attributes(in.MessageSystemAttributes),
	}, nil
}

func (e *Engine) wireSend(c *call) (any, error) { return e.sendOne(c, c.sendInput) }

func (e *Engine) wireReceive(c *call) (any, error) {
	limit := 1
	if c.MaxNumberOfMessages != nil {
		limit = *c.MaxNumberOfMessages
	}
	got, err := e.Receive(c.r.Context(), c.queue, ReceiveOptions{
		Max: limit, Visibility: seconds(c.VisibilityTimeout), Wait: seconds(c.WaitTimeSeconds),
	})
	if err != nil {
		return nil, err
	}
	if len(got) == 0 {
		return struct{}{}, nil
	}
	wanted := append(append([]string(nil), c.AttributeNames...), c.MessageSystemAttributeNames...)
	messages := make([]map[string]any, 0, len(got))
	for _, m := range got {
		out := map[string]any{
			"MessageId": m.ID, "ReceiptHandle": m.ReceiptHandle, "Body": m.Body, "MD5OfBody": md5Hex(m.Body),
		}
		if system := chosen(m.System, wanted); len(system) > 0 {
			out["Attributes"] = system
		}
		if attributes := chosen(m.Attributes, c.MessageAttributeNames); len(attributes) > 0 {
			out["MessageAttributes"] = attributes
			out["MD5OfMessageAttributes"] = md5Attributes(attributes)
		}
		messages = append(messages, out)
	}
	return map[string]any{"Messages": messages}, nil
}

// chosen picks the members that were asked for: by name, "All", ".*" or "prefix.*".
func chosen[V any](from map[string]V, wanted []string) map[string]V {
	out := make(map[string]V)
	for name, v := range from {
		for _, w := range wanted {
			prefix, pattern := strings.CutSuffix(w, ".*")
			if w == "All" || w == name || pattern && strings.HasPrefix(name, prefix) {
				out[name] = v
				break
			}
		}
	}
	return out
}

func (e *Engine) wireDelete(c *call) (any, error) {
	return struct{}{}, e.Delete(c.queue, c.ReceiptHandle)
}

func (e *Engine) wireChangeVisibility(c *call) (any, error) {
	if c.VisibilityTimeout == nil {
		return nil, missingParameter("VisibilityTimeout")
	}
	return struct{}{}, e.ChangeVisibility(c.queue, c.ReceiptHandle, *seconds(c.VisibilityTimeout))
}
