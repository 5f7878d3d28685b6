package main

import (
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/anthropicmessages"
	"github.com/latchkey/latchkey/shared/dialect/geminigenerate"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/dialect/openairesponses"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/serve"
)

// eventStream is the media type of a stream in every dialect.
const eventStream = "text/event-stream"

// handler routes the paths of the model API.
func handler(s *serve.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/chat/completions", s.Handle(org.ScopeInvoke, chat))
	mux.Handle("GET /v1/models", s.Handle(org.ScopeInvoke, models))
	mux.Handle("GET /v1/models/{model...}", s.Handle(org.ScopeInvoke, oneModel))
	mux.Handle("POST /v1/responses", s.Handle(org.ScopeInvoke, responses))
	mux.Handle("POST /v1/embeddings", s.Handle(org.ScopeInvoke, embeddings))
	m := s.Speaking(anthropicmessages.EncodeError)
	mux.Handle("POST /v1/messages", m.Handle(org.ScopeInvoke, messages))
	mux.Handle("POST /v1/messages/count_tokens", m.Handle(org.ScopeInvoke, countTokens))
	g := s.Speaking(geminigenerate.EncodeError)
	mux.Handle("POST /v1beta/{call...}", g.Handle(org.ScopeInvoke, generateContent))
	mux.Handle("GET /v1beta/{rest...}", g.Handle(org.ScopeInvoke, geminiModels))
	mux.Handle("/", s.NotFound())
	return mux
}

// encoder writes a stream in one dialect.
type encoder interface {
	Append(dst []byte, ev model.Event) []byte
	AppendError(dst []byte, err error, requestID string) []byte
}

// dialect is how a chat answer is written.
type dialect struct {
	whole  func(*model.Response, gateway.Info) ([]byte, error)
	stream func(gateway.Info) encoder
}

func chat(x *serve.Exchange) error {
	request, meta, err := openaichat.ParseRequest(x.Body)
	if err != nil {
		return err
	}
	shape := func(i gateway.Info) openaichat.Shape {
		return openaichat.Shape{Model: i.Model, IncludeUsage: meta.IncludeUsage, BillingSource: string(i.Source)}
	}
	return answer(x, request, dialect{
		whole: func(r *model.Response, i gateway.Info) ([]byte, error) {
			return openaichat.EncodeResponse(nil, r, shape(i)), nil
		},
		stream: func(i gateway.Info) encoder { return openaichat.NewStreamEncoder(shape(i)) },
	})
}

func messages(x *serve.Exchange) error {
	request, err := anthropicmessages.ParseRequest(x.Body, x.R.Header.Get("anthropic-version"))
	if err != nil {
		return err
	}
	shape := func(i gateway.Info) anthropicmessages.Shape {
		return anthropicmessages.Shape{Model: i.Model, RequestID: i.RequestID}
	}
	return answer(x, request, dialect{
		whole: func(r *model.Response, i gateway.Info) ([]byte, error) {
			return anthropicmessages.EncodeResponse(nil, r, shape(i))
		},
		stream: func(i gateway.Info) encoder { return anthropicmessages.NewStreamEncoder(shape(i)) },
	})
}

func responses(x *serve.Exchange) error {
	request, meta, err := openairesponses.ParseRequest(x.Body)
	if err != nil {
		return err
	}
	shape := func(i gateway.Info) openairesponses.Shape {
		return openairesponses.Shape{ID: i.RequestID, Model: i.Model, Created: x.Now().Unix(), Meta: meta}
	}
	return answer(x, request, dialect{
		whole: func(r *model.Response, i gateway.Info) ([]byte, error) {
			return openairesponses.EncodeResponse(nil, r, shape(i))
		},
		stream: func(i gateway.Info) encoder { return openairesponses.NewStreamEncoder(shape(i)) },
	})
}

func countTokens(x *serve.Exchange) error {
	request, err := anthropicmessages.ParseCount(x.Body, x.R.Header.Get("anthropic-version"))
	if err != nil {
		return err
	}
	return count(x, request, anthropicmessages.EncodeCount)
}

func count(x *serve.Exchange, request *model.Request, encode func(dst []byte, tokens int64) []byte) error {
	// Counting again does no harm: there is nothing to replay.
	x.Query.IdempotencyKey = ""
	n, err := x.Gateway().CountTokens(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	x.Describe(n.Info, false)
	by := "provider"
	if n.Estimated {
		by = "estimate"
	}
	x.W.Header().Set("x-latchkey-token-count", by)
	return x.Reply("application/json", encode(nil, n.Tokens))
}

// generateContent serves the methods of a model; the path ends in
// "<model>:<method>", and a model's name may hold slashes. Some SDKs leave
// "models/" out before such a name.
func generateContent(x *serve.Exchange) error {
	call := strings.TrimPrefix(x.R.PathValue("call"), "models/")
	i := strings.LastIndexByte(call, ':')
	name, method := call[:max(i, 0)], call[i+1:]
	streaming := method == "streamGenerateContent"
	if !streaming && method != "generateContent" && method != "countTokens" {
		return fault.New(fault.NotFound, "invoke.generateContent", "the methods of a model are generateContent, streamGenerateContent and countTokens")
	}
	if streaming && x.R.URL.Query().Get("alt") != "sse" {
		return fault.New(fault.InvalidRequest, "invoke.generateContent", "streams are sent as events: add ?alt=sse to the URL").WithParam("alt")
	}
	request, err := geminigenerate.ParseRequest(name, streaming, x.Body)
	if err != nil {
		return err
	}
	if method == "countTokens" {
		return count(x, request, geminigenerate.EncodeCount)
	}
	shape := func(i gateway.Info) geminigenerate.Shape {
		return geminigenerate.Shape{ID: i.RequestID, Model: i.Model}
	}
	return answer(x, request, dialect{
		whole: func(r *model.Response, i gateway.Info) ([]byte, error) {
			return geminigenerate.EncodeResponse(nil, r, shape(i))
		},
		stream: func(i gateway.Info) encoder { return geminigenerate.NewStreamEncoder(shape(i)) },
	})
}

// answer makes the call and writes what comes back.
func answer(x *serve.Exchange, request *model.Request, d dialect) error {
	if request.Stream {
		return stream(x, request, d)
	}
	a, err := x.Gateway().Complete(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	// A usage that cannot be written is the ledger's trouble, reported by the
	// gateway; the answer was produced and is the client's.
	_ = a.Commit(x.R.Context())
	info := a.Info()
	x.Describe(info, false)
	body, err := d.whole(a.Response, info)
	if err != nil {
		return err
	}
	return x.Reply("application/json", body)
}

func stream(x *serve.Exchange, request *model.Request, d dialect) error {
	s, err := x.Gateway().Stream(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	defer s.Close()
	info := s.Info()
	x.Describe(info, true)
	return relay(x, s, d.stream(info), info.RequestID)
}

// source is an answer as it arrives.
type source interface {
	Next() (model.Event, error)
	Abandon()
	Info() gateway.Info
}

// relay writes an answer in the client's dialect.
func relay(x *serve.Exchange, s source, encoder encoder, requestID string) error {
	// Status and headers wait for the first event.
	first, err := s.Next()
	if err != nil {
		return err
	}
	x.Begin(http.StatusOK, eventStream)
	buf := encoder.Append(make([]byte, 0, 2048), first)
	for {
		if len(buf) > 0 {
			if _, err := x.W.Write(buf); err != nil {
				s.Abandon()
				return fault.Wrap(fault.Internal, "invoke.stream", "the client left", err)
			}
		}
		ev, err := s.Next()
		if err != nil {
			_, _ = x.W.Write(encoder.AppendError(buf[:0], x.Public(err), requestID))
			return err
		}
		buf = buf[:0]
		if ev.Kind == model.EventEnd {
			buf = openaichat.AppendComment(buf, "x-latchkey-overhead-ms: "+serve.Milliseconds(s.Info().Overhead))
			buf = encoder.Append(buf, ev)
			_, err := x.W.Write(buf)
			return err
		}
		buf = encoder.Append(buf, ev)
	}
}
