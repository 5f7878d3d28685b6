package lkcli

import "net/http"

func toolFlags() []option {
	return []option{opt(text, "method", "GET, POST, PUT, PATCH or DELETE; default POST"),
		opt(secrets, "headers", "NAME=- (standard input) or NAME=@FILE, repeated; replaces all").as("header"),
		opt(integer, "timeout_seconds", "1 to 20, default 10"), opt(integer, "max_bytes", "how much of an answer the model is shown, default 16384"),
		opt(text, "integrity", "signed: not for messages of channels that do not sign"), opt(text, "approval", "required: a person has to approve each call; or none"), opt(integer, "approval_hours", "1 to 168, how long a call waits, default 24"),
		opt(text, "action", "what a call is charged as, default tool_call; operators only")}
}

func toolCommands() []command {
	const base, one = orgPath + "/tools", orgPath + "/tools/{id}"
	of := id("or name of the tool")
	return []command{
		{name: "tool list", about: "the HTTP tools that agents may call", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"name", "method", "url", "headers", "integrity", "approval", "action", "description"}},
		{name: "tool create", about: "declare a tool; name it in an agent's tools to let the agent call it", method: http.MethodPost, path: base,
			examples: []string{`lk tool create --name order --description @order.txt --method GET --address https://shop.example/orders/{number} --parameters @order.json --header X-Api-Key=@key.txt`},
			flags: append([]option{opt(text, "name", "").must(), opt(document, "description", "tells models when to call it").must(), opt(text, "url", "https://host/path/{parameter}").as("address").must(),
				opt(anyJSON, "parameters", "JSON schema of the arguments, or @FILE").must()}, toolFlags()...)},
		{name: "tool get", about: "a tool", method: http.MethodGet, path: one, args: of},
		{name: "tool update", about: "change a tool", method: http.MethodPatch, path: one, args: of,
			flags: append([]option{opt(document, "description", ""), opt(text, "url", "another host needs the headers again").as("address"), opt(anyJSON, "parameters", "JSON schema, or @FILE")}, toolFlags()...)},
		{name: "approval list", about: "calls of tools that wait for approval, or waited, newest first", method: http.MethodGet, path: orgPath + "/approvals", list: true, paged: true,
			columns: []string{"id", "state", "tool", "arguments", "asked_by", "asked_at", "expires_at", "decided_by"}},
		{name: "approval get", about: "a call that waits for approval, or waited", method: http.MethodGet, path: orgPath + "/approvals/{id}", args: id("of the call")},
		decision("approve", "let a call that waits be made; the conversation goes on"),
		decision("refuse", "refuse a call that waits; the conversation goes on"),
		{name: "tool delete", about: "delete a tool", method: http.MethodDelete, path: one, args: of},
	}
}

// decision is one of the two about a call that waits.
func decision(verb, about string) command {
	return command{name: "approval " + verb, about: about, method: http.MethodPost, path: orgPath + "/approvals/{id}", args: id("of the call"),
		sets: map[string]string{"decision": verb}, examples: []string{"lk approval " + verb + " ap-8236-1a2b --reason asked"},
		flags: []option{opt(text, "reason", "one line; the agent is told")}}
}
