package leader

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/detnet/detnet/controller/status"
)

func lease(holder *string) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "detnet", Name: Lease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: holder},
	}
}

func controllerPod(ip string, port int32) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "detnet", Name: "detnet-controller-7c9"}}
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 1}, {Name: "status", ContainerPort: port}}}}
	pod.Status.PodIP = ip
	return pod
}

func TestFind(t *testing.T) {
	held, empty := "detnet-controller-7c9_5b0e", ""
	for _, tt := range []struct {
		name    string
		objects []runtime.Object
		want    string
		none    bool
	}{
		{"led", []runtime.Object{lease(&held), controllerPod("10.0.0.1", 8082)}, "detnet-controller-7c9", false},
		{"released", []runtime.Object{lease(&empty)}, "", true},
		{"never held", []runtime.Object{lease(nil)}, "", true},
		{"leader's pod gone", []runtime.Object{lease(&held)}, "", false},
		{"not installed", nil, "", true},
	} {
		pod, err := Find(t.Context(), fake.NewClientset(tt.objects...), "detnet")
		if (err == nil) != (tt.want != "") || (pod != nil && pod.Name != tt.want) || errors.Is(err, ErrNone) != tt.none {
			t.Errorf("%s: %v, %v", tt.name, pod, err)
		}
	}
}

func TestReader(t *testing.T) {
	leads := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, local := r.URL.Query()["local"]; r.URL.Path != "/status" || !local || r.URL.Query().Get("node") != "n 1" || r.URL.Query().Get("limit") != "7" {
			t.Errorf("asked for %s, want /status?local and what is asked for", r.URL)
		}
		if !leads {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		if err := json.NewEncoder(w).Encode(status.Status{Leader: true, Law: "adaptive"}); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	host, portText, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	held := "detnet-controller-7c9_5b0e"
	r := Reader{Client: fake.NewClientset(lease(&held), controllerPod(host, int32(port))), Namespace: "detnet"}
	if s, err := r.Read(t.Context(), status.Query{Node: "n 1", Limit: 7}); err != nil || !s.Leader || s.Law != "adaptive" {
		t.Errorf("Read = %+v, %v", s, err)
	}
	leads = false
	if s, err := r.Read(t.Context(), status.Query{Node: "n 1", Limit: 7}); err == nil {
		t.Errorf("Read = %+v of a server that answers 503", s)
	}
}

// A leader of an older version answers with all that there is, whatever is asked.
func TestAnOlderLeaderIsAskedForAPart(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all := status.Status{Leader: true, Senders: []status.Sender{{Pod: "shop/a", Node: "n1"}, {Pod: "shop/b", Node: "n2"}, {Pod: "shop/c", Node: "n2"}}}
		if err := json.NewEncoder(w).Encode(all); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	s, err := Get(t.Context(), server.URL, status.Query{Node: "n2", Limit: 1})
	if err != nil || len(s.Senders) != 1 || s.Senders[0].Pod != "shop/b" || s.Totals == nil || s.Totals.Senders != 2 {
		t.Errorf("%+v, %v, want the first of the two on n2", s, err)
	}
	if s, err := Get(t.Context(), server.URL, status.Query{}); err != nil || len(s.Senders) != 3 || s.Totals != nil {
		t.Errorf("%+v, %v, want all", s, err)
	}
}
