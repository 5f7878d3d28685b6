// Package bedrock speaks the Amazon Bedrock runtime: Converse and ConverseStream,
// and the lists of the control plane.
//
// A key is either AWS credentials, ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION, with
// which each request is signed, or a Bedrock API key, which is sent as a bearer
// token. Credentials name their region, so a connection needs no base URL; with an
// API key the base URL names it, us-east-1 if there is none. The key must be
// allowed to list foundation models, which is how it is checked, because the
// runtime has no call that costs nothing.
//
// Bedrock serves models of many makers, which differ in what they take, so each
// request is encoded by the [profile] of its model's family. A model that the table
// does not know, such as an application inference profile, gets what every model
// takes, and the vendor decides. What neither the API nor the model takes is
// refused before anything is sent. Translated rather than refused: a system message
// inside the conversation becomes text of the user's turn; the effort "minimal" is
// "low"; arguments of an earlier call that are no JSON object go back as
// {"invalid_arguments": text}; call IDs and names of documents are made to fit; an
// empty result of a tool is the object {}; a JSON object without a schema, or with
// one where the model has no structured output, is asked for by a forced tool,
// whose arguments become the text; a conversation with tool calls whose request
// brings no tools gets tools with those names, because the API wants them. The API
// cannot forbid tools: with tool_choice none they are left out unless the
// conversation holds calls. Without counterpart and left out: names of messages,
// the detail of an image, the end user's name, cache marks where the model has no
// cache, the error mark of a result where the model has none, empty texts, and
// reasoning that was not signed, or not by this family.
//
// Media travels as bytes. Locations in S3 are refused: on the platform's key they
// would open the platform's buckets. Names of prompts and of endpoints elsewhere are
// no models.
//
// A stream is complete with messageStop and metadata, which has the usage. Input,
// cache reads and cache writes exclude each other. Redacted reasoning and
// signatures go back as they came.
//
// Not served: embeddings, images in streamed answers (whole ones have them), video,
// guardrails, the vendor's own tools.
//
// Sources, read 2026-11-22: the service models bedrock-runtime 2023-09-30 and
// bedrock 2023-04-20 of botocore 1.44.5; docs.aws.amazon.com, Bedrock user guide
// (conversation-inference, tool-use, prompt-caching, structured-output, api-keys,
// claude-messages-adaptive-thinking, troubleshooting-api-error-codes) and Nova 2
// user guide (extended-thinking, request-response-schema).
package bedrock

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/awssign"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/providers/internal/eventstream"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	op = "bedrock.Chat"
	// The two endpoints of a region. A base URL may name the region with either.
	control, runtime = "bedrock", "bedrock-runtime"
)

// baseURL stands for no choice of a region.
func baseURL() string { return awssign.BaseURL(control, awssign.DefaultRegion) }

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", MinLen: 16, MaxLen: 4096, Match: isKey,
		Form: "ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION, or be a Bedrock API key (ABSK... or bedrock-api-key-...)"}
}

// isKey tells the two forms of keys apart from everything else: half of a
// credential must not be stored, because it would be sent as an API key.
func isKey(b []byte) bool {
	k := secret.FromString(string(b))
	switch awssign.FormOf(k) {
	case awssign.Credential:
		return true
	case awssign.Bearer:
		return bytes.HasPrefix(b, []byte("ABSK")) || bytes.HasPrefix(b, []byte("bedrock-api-key-"))
	}
	return false
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.Bedrock, Key: key(), Errors: errorTable()}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	c := New()
	return providers.Entry{
		ID:             taxonomy.Bedrock,
		Title:          "Amazon Bedrock",
		DefaultBaseURL: baseURL(),
		Hosts:          append(awssign.Hosts(control), awssign.Hosts(runtime)...),
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapAudioIn, taxonomy.CapTools,
			taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		NewChat:        func() model.Chat { return New() },
		ListModels:     c.listModels,
		CheckKey:       c.checkKey,
	}
}

// Chat is the adapter. It is stateless and safe for concurrent use. It implements
// [model.Chat] and [model.Carrier].
type Chat struct{ v wire.Vendor }

// New makes the adapter.
func New() *Chat { return &Chat{v: vendor()} }

// Complete implements [model.Chat].
func (c *Chat) Complete(ctx context.Context, call model.Call) (*model.Response, error) {
	e, t, r, err := c.request(call, "/converse", "application/json")
	if err != nil {
		return nil, err
	}
	ans, err := wire.Do(ctx, t, &c.v, r)
	if err != nil {
		return nil, err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return nil, err
	}
	out, err := e.decode(body, ans.Header)
	if err != nil {
		return nil, err
	}
	out.ID, out.ProviderRequestID = ans.RequestID, ans.RequestID
	return out, nil
}

// Stream implements [model.Chat].
func (c *Chat) Stream(ctx context.Context, call model.Call) (model.Stream, error) {
	e, t, r, err := c.request(call, "/converse-stream", eventstream.ContentType)
	if err != nil {
		return nil, err
	}
	return events.OpenSource(ctx, t, &c.v, r, c.frames,
		func(ans *wire.Answer) events.Decoder { return newDecoder(e, ans.RequestID) },
		func(body []byte, ans *wire.Answer) error {
			_, err := e.decode(body, ans.Header)
			return err
		})
}

func (c *Chat) request(call model.Call, method, accept string) (*encoded, model.Target, wire.Request, error) {
	t := call.Target
	path, ok := modelPath(call.Request.Model)
	if !ok {
		return nil, t, wire.Request{}, c.refuse("model", "a model ID of this provider is required, or the ARN of a model or inference profile")
	}
	e, err := c.encode(call.Request)
	if err != nil {
		return nil, t, wire.Request{}, err
	}
	t, sign, err := c.aim(op, t, runtime)
	return e, t, wire.Request{Op: op, Method: http.MethodPost, Path: "/model/" + path + method, ContentType: "application/json", Accept: accept,
		Body: bytes.NewReader(e.body), Size: int64(len(e.body)), Stream: accept != "application/json", Sign: sign}, err
}

// aim finds the endpoint of the key's region and how the key is proved. A missing
// key proves nothing: that is the vendor's to refuse, as with all vendors.
func (c *Chat) aim(op string, t model.Target, label string) (model.Target, func(*http.Request, secret.Text) error, error) {
	form := awssign.FormOf(t.Key)
	if form == awssign.Malformed && !t.Key.IsZero() {
		return t, nil, c.v.Refuse(op, fault.ProviderKeyInvalid, "api_key", "the key must be written "+key().Form+"; replace it")
	}
	t, err := awssign.Aim(&c.v, op, t, label, []string{control, runtime}, baseURL())
	if err != nil || form != awssign.Credential {
		return t, nil, err
	}
	return t, awssign.SignFor(&c.v, op, awssign.Service{Label: label, Name: control}, t), nil
}

// modelPath is a model's name as one segment of a path, in which everything but
// letters, digits, dot, hyphen and underscore is escaped: the signature covers the
// escapes.
func modelPath(id string) (string, bool) {
	if id == "" || len(id) > 512 || strings.Trim(id, nameChars) != "" || strings.Contains(id, "..") || strings.Trim(id, ".:-_") == "" {
		return "", false
	}
	if strings.Contains(id, "/") != strings.HasPrefix(id, "arn:") || strings.HasPrefix(id, "arn:") && !modelARN(id) {
		return "", false
	}
	var b strings.Builder
	for i := range len(id) {
		switch id[i] {
		case ':':
			b.WriteString("%3A")
		case '/':
			b.WriteString("%2F")
		default:
			b.WriteByte(id[i])
		}
	}
	return b.String(), true
}

const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/"

// modelARN says whether an ARN names something that answers as a model by itself:
// arn:aws:bedrock:REGION:ACCOUNT:KIND/NAME.
func modelARN(arn string) bool {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[1] != "aws" || parts[2] != control {
		return false
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	switch kind {
	case "foundation-model", "inference-profile", "application-inference-profile", "provisioned-model", "custom-model",
		"custom-model-deployment", "imported-model", "prompt-router", "default-prompt-router":
		return name != ""
	}
	return false
}

func (c *Chat) refuse(param, message string) error {
	return c.v.Refuse(op, fault.InvalidRequest, param, message)
}

func (c *Chat) refuseMedia(message string) error {
	return c.v.Refuse(op, fault.UnsupportedMedia, "messages", message)
}
