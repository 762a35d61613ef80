// Package leader finds the replica that controls and reads its status: for
// people, through the API server; for a standby, directly.
package leader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/status"
)

// Lease is the name of the lease that the leader holds.
const Lease = "detnet-controller"

// RecordingPath is where the status page's server has the recording.
const RecordingPath = "/recording"

// portName is the container port of the status page.
const portName = "status"

// ErrNone reports that nobody leads.
var ErrNone = errors.New("no controller leads: is it installed in this namespace, and running?")

// Find returns the pod that leads in namespace.
func Find(ctx context.Context, client kubernetes.Interface, namespace string) (*corev1.Pod, error) {
	lease, err := client.CoordinationV1().Leases(namespace).Get(ctx, Lease, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no lease %s/%s: %w", namespace, Lease, ErrNone)
	case err != nil:
		return nil, fmt.Errorf("find the leader by lease %s/%s: %w", namespace, Lease, err)
	}
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	// The identity is "<host name>_<uuid>", and a pod's host name is its own.
	name, _, ok := strings.Cut(holder, "_")
	if !ok {
		return nil, fmt.Errorf("lease %s/%s: %w", namespace, Lease, ErrNone)
	}
	pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find the leader's pod: %w", err)
	}
	return pod, nil
}

// Port returns the container port of a controller's status page; 0 if it has
// none.
func Port(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == portName {
				return p.ContainerPort
			}
		}
	}
	return 0
}

// Status reads what q asks for of the leader's status through the API server, which
// takes the permission to get pods/proxy in namespace.
func Status(ctx context.Context, client kubernetes.Interface, namespace string, q status.Query) (*status.Status, error) {
	body, err := open(ctx, client, namespace, "/status", q.Values())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return read(body, q)
}

// Recording opens the leader's recording in the same way.
func Recording(ctx context.Context, client kubernetes.Interface, namespace string) (io.ReadCloser, error) {
	return open(ctx, client, namespace, RecordingPath, nil)
}

// open gets a path of the leader's status page through the API server.
func open(ctx context.Context, client kubernetes.Interface, namespace, path string, values url.Values) (io.ReadCloser, error) {
	pod, err := Find(ctx, client, namespace)
	if err != nil {
		return nil, err
	}
	port, params := fmt.Sprint(Port(pod)), map[string]string{}
	for name := range values {
		params[name] = values.Get(name)
	}
	body, err := client.CoreV1().Pods(namespace).ProxyGet("http", pod.Name, port, path, params).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("get %s of pod %s/%s through the API server: %w (a network policy may be in the way: kubectl port-forward -n %s pod/%s %s, then --url http://127.0.0.1:%s)", path, namespace, pod.Name, err, namespace, pod.Name, port, port)
	}
	return body, nil
}

// maxStatus is the most that a status may weigh.
const maxStatus = 64 << 20

// read reads what q asks for of a status: a controller of an older version answers with
// all of it.
func read(body io.Reader, q status.Query) (*status.Status, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxStatus))
	if err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	s, err := Decode(text)
	if err != nil {
		return nil, err
	}
	return s.Select(q), nil
}

// Decode reads a status.
func Decode(text []byte) (*status.Status, error) {
	var s status.Status
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	return &s, nil
}
