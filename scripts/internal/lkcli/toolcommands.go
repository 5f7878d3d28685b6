package lkcli

import "net/http"

func toolFlags() []option {
	return []option{opt(text, "method", "GET, POST, PUT, PATCH or DELETE; default POST"),
		opt(secrets, "headers", "NAME=- (standard input) or NAME=@FILE, repeated; replaces all").as("header"),
		opt(integer, "timeout_seconds", "1 to 20, default 10"), opt(integer, "max_bytes", "how much of an answer the model is shown, default 16384"),
		opt(text, "integrity", "signed: not for messages of channels that do not sign"), opt(text, "action", "what a call is charged as, default tool_call; operators only")}
}

func toolCommands() []command {
	const base, one = orgPath + "/tools", orgPath + "/tools/{id}"
	of := id("or name of the tool")
	return []command{
		{name: "tool list", about: "the HTTP tools that agents may call", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"name", "method", "url", "headers", "integrity", "action", "description"}},
		{name: "tool create", about: "declare a tool; name it in an agent's tools to let the agent call it", method: http.MethodPost, path: base,
			examples: []string{`lk tool create --name order --description @order.txt --method GET --address https://shop.example/orders/{number} --parameters @order.json --header X-Api-Key=@key.txt`},
			flags: append([]option{opt(text, "name", "").must(), opt(document, "description", "tells models when to call it").must(), opt(text, "url", "https://host/path/{parameter}").as("address").must(),
				opt(anyJSON, "parameters", "JSON schema of the arguments, or @FILE").must()}, toolFlags()...)},
		{name: "tool get", about: "a tool", method: http.MethodGet, path: one, args: of},
		{name: "tool update", about: "change a tool", method: http.MethodPatch, path: one, args: of,
			flags: append([]option{opt(document, "description", ""), opt(text, "url", "another host needs the headers again").as("address"), opt(anyJSON, "parameters", "JSON schema, or @FILE")}, toolFlags()...)},
		{name: "tool delete", about: "delete a tool", method: http.MethodDelete, path: one, args: of},
	}
}
