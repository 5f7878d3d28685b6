// Package dynamotest gives integration tests private tables on a running
// DynamoDB Local.
//
// It is imported by _test files only. It does not import shared/dynamo, so
// tests inside that package can use it too: pass Fixture.Client and
// Fixture.Tables to dynamo.New. The engine is named by the environment variable
// [EndpointVariable], which ./scripts/test sets; without it the test is skipped,
// never run against AWS. Only loopback endpoints are accepted.
package dynamotest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
)

// EndpointVariable names the environment variable with the URL of DynamoDB
// Local, for example http://127.0.0.1:8000.
const EndpointVariable = "LATCHKEY_TEST_DYNAMODB_URL"

// cleanupLimit bounds the removal of the tables of one test.
const cleanupLimit = 20 * time.Second

// Fixture is one test's set of tables.
type Fixture struct {
	Client *dynamodb.Client
	// Tables holds a name for every role, with a random suffix of this test.
	// Only the roles given to [Open] exist.
	Tables map[table.Role]string
}

// Open creates the tables of the roles, all of [table.Specs] if none is given,
// and removes them when the test ends. It skips the test if [EndpointVariable]
// is unset and fails it if the engine does not answer.
func Open(t testing.TB, roles ...table.Role) Fixture {
	t.Helper()
	fx := Fixture{Client: client(t), Tables: map[table.Role]string{}}
	suffix := randomSuffix()
	for _, spec := range table.Specs() {
		fx.Tables[spec.Role] = "test-" + string(spec.Role) + "-" + suffix
		if len(roles) == 0 || contains(roles, spec.Role) {
			fx.create(t, spec)
		}
	}
	return fx
}

func client(t testing.TB) *dynamodb.Client {
	t.Helper()
	endpoint := os.Getenv(EndpointVariable)
	if endpoint == "" {
		t.Skipf("%s is not set: run ./scripts/test, or start DynamoDB Local on 127.0.0.1 and set it", EndpointVariable)
	}
	u, err := url.Parse(endpoint)
	if err != nil || !loopback(u.Hostname()) {
		t.Fatalf("%s must name a loopback address", EndpointVariable)
	}
	return dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (fx Fixture) create(t testing.TB, spec table.Spec) {
	t.Helper()
	name := fx.Tables[spec.Role]
	in := &dynamodb.CreateTableInput{
		TableName:   aws.String(name),
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			attribute(table.PK, types.ScalarAttributeTypeS), attribute(table.SK, types.ScalarAttributeTypeS),
		},
		KeySchema: keySchema(table.PK, table.SK),
	}
	for _, ix := range spec.Index {
		in.AttributeDefinitions = append(in.AttributeDefinitions,
			attribute(ix.PK, types.ScalarAttributeTypeS), attribute(ix.SK, types.ScalarAttributeTypeN))
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(ix.Name), KeySchema: keySchema(ix.PK, ix.SK),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		})
	}
	if spec.Stream {
		in.StreamSpecification = &types.StreamSpecification{
			StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages,
		}
	}
	if _, err := fx.Client.CreateTable(context.Background(), in); err != nil {
		t.Fatalf("create table %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		if _, err := fx.Client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(name)}); err != nil {
			t.Logf("delete table %s: %v", name, err)
		}
	})
}

func attribute(name string, typ types.ScalarAttributeType) types.AttributeDefinition {
	return types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: typ}
}

func keySchema(pk, sk string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: aws.String(pk), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(sk), KeyType: types.KeyTypeRange},
	}
}

func contains(roles []table.Role, r table.Role) bool {
	for _, have := range roles {
		if have == r {
			return true
		}
	}
	return false
}

func randomSuffix() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
