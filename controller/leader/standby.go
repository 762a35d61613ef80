package leader

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/status"
)

// patience with the leader.
const patience = 2 * time.Second

// Reader reads the leader's status for a standby, so that the page shows the
// same whichever replica a Service picks.
type Reader struct {
	Client    kubernetes.Interface
	Namespace string
}

// Read returns what q asks for of the leader's status.
func (r Reader) Read(ctx context.Context, q status.Query) (*status.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pod, err := Find(ctx, r.Client, r.Namespace)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(Port(pod))))
	return Get(ctx, "http://"+addr, q)
}

// Get reads what q asks for of the status of the controller at a base URL.
func Get(ctx context.Context, url string, q status.Query) (*status.Status, error) {
	// local: a standby that is asked so answers for itself alone, and two
	// replicas can't ask each other in circles.
	values := q.Values()
	values.Set("local", "")
	body, err := get(ctx, url+"/status?"+values.Encode())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return read(body, q)
}

// GetRecording opens the recording of the controller at a base URL.
func GetRecording(ctx context.Context, url string) (io.ReadCloser, error) {
	return get(ctx, url+RecordingPath)
}

// get opens what is at url.
func get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the controller: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // an answer without words is one too
		return nil, fmt.Errorf("ask %s: %s: %s", url, resp.Status, strings.TrimSpace(string(why)))
	}
	return resp.Body, nil
}
