package leader

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/status"
)

// patience with the leader, and the most that its status may weigh.
const (
	patience  = 2 * time.Second
	maxStatus = 64 << 20
)

// Reader reads the leader's status for a standby, so that the page shows the
// same whichever replica a Service picks.
type Reader struct {
	Client    kubernetes.Interface
	Namespace string
}

// Read returns the leader's status.
func (r Reader) Read(ctx context.Context) (*status.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pod, err := Find(ctx, r.Client, r.Namespace)
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(Port(pod))))
	return Get(ctx, "http://"+addr)
}

// Get reads the status of the controller at a base URL.
func Get(ctx context.Context, url string) (*status.Status, error) {
	// local: a standby that is asked so answers for itself alone, and two
	// replicas can't ask each other in circles.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/status?local", nil)
	if err != nil {
		return nil, fmt.Errorf("read the status of %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil {
		return nil, fmt.Errorf("read the status of %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the status of %s: %s", url, resp.Status)
	}
	return Decode(text)
}
