// Command operatorcmd is ./scripts/operator-key: it makes an operator key for a
// deployed stage and stores its digest in the config table. No API can make the
// first one. It needs AWS credentials that may write that table.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/scripts/internal/operator"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	stage := flag.String("stage", "", "the deployed stage, e.g. dev")
	flag.Parse()
	if *stage == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: ./scripts/operator-key --stage NAME\nMakes an operator key, prints it once and stores its digest. Needs AWS credentials.")
		os.Exit(2)
	}
	if err := run(context.Background(), *stage); err != nil {
		fmt.Fprintln(os.Stderr, "operator-key:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stage string) error {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	tables := dynamo.Tables{}
	for _, t := range table.Specs() {
		tables[t.Role] = topology.App + "-" + stage + "-" + string(t.Role)
	}
	db, err := dynamo.New(dynamodb.NewFromConfig(cfg), tables)
	if err != nil {
		return err
	}
	key, err := operator.CreateKey(ctx, db, "bootstrap", "operator:bootstrap")
	if err != nil {
		return fmt.Errorf("%w (table %s; is the stage deployed and may these credentials write it?)", err, tables[table.Config])
	}
	fmt.Println(key)
	return nil
}
