package main

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/serve"
)

// handler routes the paths of the model API.
func handler(s *serve.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/chat/completions", s.Handle(org.ScopeInvoke, chat))
	mux.Handle("GET /v1/models", s.Handle(org.ScopeInvoke, models))
	mux.Handle("GET /v1/models/{model...}", s.Handle(org.ScopeInvoke, oneModel))
	mux.Handle("/", s.NotFound())
	return mux
}

func chat(x *serve.Exchange) error {
	request, meta, err := openaichat.ParseRequest(x.Body)
	if err != nil {
		return err
	}
	if request.Stream {
		return stream(x, request, meta)
	}
	answer, err := x.Gateway().Complete(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	// A usage that cannot be written is the ledger's trouble, reported by the
	// gateway; the answer was produced and is the client's.
	_ = answer.Commit(x.R.Context())
	info := answer.Info()
	describe(x, info, request, false)
	return x.Reply("application/json", openaichat.EncodeResponse(nil, answer.Response, shape(info, meta)))
}

func stream(x *serve.Exchange, request *model.Request, meta openaichat.Meta) error {
	s, err := x.Gateway().Stream(x.R.Context(), x.Caller, x.Query, request)
	if err != nil {
		return err
	}
	defer s.Close()
	info := s.Info()
	describe(x, info, request, true)
	encoder := openaichat.NewStreamEncoder(shape(info, meta))
	// Status and headers wait for the first event.
	first, err := s.Next()
	if err != nil {
		return err
	}
	x.Begin(http.StatusOK, openaichat.ContentType)
	buf := encoder.Append(make([]byte, 0, 2048), first)
	for {
		if len(buf) > 0 {
			if _, err := x.W.Write(buf); err != nil {
				return fault.Wrap(fault.Internal, "invoke.stream", "the client left", err)
			}
		}
		ev, err := s.Next()
		if err != nil {
			_, _ = x.W.Write(encoder.AppendError(buf[:0], x.Public(err), info.RequestID))
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

func shape(i gateway.Info, meta openaichat.Meta) openaichat.Shape {
	return openaichat.Shape{Model: i.Model, IncludeUsage: meta.IncludeUsage, BillingSource: string(i.Source)}
}

// describe sets the response headers and names what a platform call left out.
func describe(x *serve.Exchange, i gateway.Info, r *model.Request, streaming bool) {
	x.Describe(i, streaming)
	if i.Connection == "" {
		x.Dropped(gateway.DroppedFields(r))
	}
}

func models(x *serve.Exchange) error {
	return x.Reply("application/json", openaichat.EncodeModels(nil, listed(x)))
}

func oneModel(x *serve.Exchange) error {
	name := x.R.PathValue("model")
	for _, l := range listed(x) {
		if l.ID == name {
			return x.Reply("application/json", openaichat.EncodeModel(nil, l))
		}
	}
	return fault.New(fault.NotFound, "invoke.oneModel", "there is no such model; GET /v1/models lists what is available").WithParam("model")
}

func listed(x *serve.Exchange) []openaichat.Listed {
	names := x.Gateway().Models(x.Caller)
	out := make([]openaichat.Listed, len(names))
	for i, n := range names {
		out[i] = openaichat.Listed{ID: n, OwnedBy: serve.Owner(n)}
	}
	return out
}
