package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// slackColumn: the vendor signs time and body, has apps of several workspaces, and
// tells of a mention twice.
func slackColumn() column {
	return column{channel: taxonomy.Slack, differs: together(sharedSecret(), absent(signedCheck, 25))}
}
