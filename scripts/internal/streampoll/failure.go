package streampoll

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Conditions of a discarded batch, in Lambda's words.
const (
	retriesExhausted  = "RetryAttemptsExhausted"
	recordAgeExceeded = "RecordAgeExceeded"
)

const (
	failurePrefix  = "aws/lambda/"
	maxFailure     = 16 << 20 // a 6 MB event, escaped
	failureListing = 1000
)

// Failure is one object of a failure destination.
type Failure struct {
	// Key is the object's key in the bucket, "aws/lambda/<mapping>/<shard>/…".
	Key string `json:"key"`
	// At is the wall-clock time of writing.
	At time.Time `json:"at"`
	// Body is the invocation record; its "payload" is the whole event as text.
	Body json.RawMessage `json:"body"`
}

type failureBody struct {
	RequestContext  failureRequest  `json:"requestContext"`
	ResponseContext failureResponse `json:"responseContext"`
	Version         string          `json:"version"`
	Timestamp       string          `json:"timestamp"`
	Batch           failureBatch    `json:"DDBStreamBatchInfo"`
	Payload         string          `json:"payload"`
}

type failureRequest struct {
	RequestID   string `json:"requestId"`
	FunctionARN string `json:"functionArn"`
	Condition   string `json:"condition"`
	Invokes     int    `json:"approximateInvokeCount"`
}

type failureResponse struct {
	StatusCode      int    `json:"statusCode"`
	ExecutedVersion string `json:"executedVersion"`
	FunctionError   string `json:"functionError,omitempty"`
}

type failureBatch struct {
	ShardID       string `json:"shardId"`
	StartSequence string `json:"startSequenceNumber"`
	EndSequence   string `json:"endSequenceNumber"`
	FirstArrival  string `json:"approximateArrivalOfFirstRecord"`
	LastArrival   string `json:"approximateArrivalOfLastRecord"`
	BatchSize     int    `json:"batchSize"`
	StreamARN     string `json:"streamArn"`
}

// writeFailure stores the batch with its full records, as Lambda does in S3.
func (p *Poller) writeFailure(shard, condition, functionError string, invokes int, records []record) error {
	if p.mapping.FailureDestination == "" {
		return nil
	}
	m, now := &p.mapping, p.options.Clock.Now()
	first, last := records[0], records[len(records)-1]
	body := failureBody{
		RequestContext: failureRequest{
			RequestID: newID(), Condition: condition, Invokes: invokes,
			FunctionARN: fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", p.convert.region, p.convert.account, m.Function),
		},
		ResponseContext: failureResponse{StatusCode: 200, ExecutedVersion: "$LATEST", FunctionError: functionError},
		Version:         "1.0",
		Timestamp:       stamp(now),
		Batch: failureBatch{
			ShardID: shard, StartSequence: first.sequence, EndSequence: last.sequence,
			FirstArrival: stamp(first.created), LastArrival: stamp(last.created),
			BatchSize: len(records), StreamARN: p.convert.streamARN,
		},
		Payload: string(eventOf(records)),
	}
	data, err := marshal(body)
	if err != nil {
		return err
	}
	key := path.Join(failurePrefix, m.Function, shard, now.Format("2006/01/02"), now.Format("2006-01-02T15.04.05")+"-"+newID())
	file := filepath.Join(m.FailureDestination, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("streampoll: failure destination: %w", err)
	}
	if err := writeFile(file, data); err != nil {
		return fmt.Errorf("streampoll: failure destination: %w", err)
	}
	return nil
}

// Failures lists the newest 1000 objects of a failure destination, oldest first.
// A directory that does not exist yet holds none.
func Failures(destination string) ([]Failure, error) {
	var found []Failure
	err := filepath.WalkDir(destination, func(file string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Size() > maxFailure {
			return err
		}
		relative, err := filepath.Rel(destination, file)
		found = append(found, Failure{Key: filepath.ToSlash(relative), At: info.ModTime().UTC()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("streampoll: failure destination: %w", err)
	}
	sort.Slice(found, func(i, j int) bool {
		if !found[i].At.Equal(found[j].At) {
			return found[i].At.Before(found[j].At)
		}
		return found[i].Key < found[j].Key
	})
	found = found[max(0, len(found)-failureListing):]
	for i := range found {
		data, err := os.ReadFile(filepath.Join(destination, filepath.FromSlash(found[i].Key)))
		if err != nil {
			return nil, fmt.Errorf("streampoll: failure destination: %w", err)
		}
		if !json.Valid(data) {
			return nil, fmt.Errorf("streampoll: failure object %s is not JSON", found[i].Key)
		}
		found[i].Body = data
	}
	return found, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
