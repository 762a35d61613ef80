package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serviceAccount is where the kubelet puts what a pod needs to ask the API server.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// apiServer answers a node agent in the API server's place, of which there is none:
// with the node's pods, of which none comes or goes, and without Cilium's endpoints, so
// that the agent finds interfaces by their routes.
type apiServer struct{ *httptest.Server }

// newAPIServer serves on h, and puts what pods have there to ask it with.
func newAPIServer(ctx context.Context, on *host, pods []corev1.Pod) (apiServer, error) {
	var listener net.Listener
	if err := on.do(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
		return err
	}); err != nil {
		return apiServer{}, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/pods", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "true" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_ = json.NewEncoder(w).Encode(corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: pods})
	})
	s := &httptest.Server{Listener: listener, EnableHTTP2: true, Config: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	s.StartTLS()
	if err := os.MkdirAll(serviceAccount, 0o755); err != nil {
		return apiServer{}, err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, content := range map[string][]byte{"ca.crt": authority, "token": []byte("nobody")} {
		if err := os.WriteFile(filepath.Join(serviceAccount, name), content, 0o600); err != nil {
			return apiServer{}, err
		}
	}
	return apiServer{s}, nil
}

// environment is that of a pod's container.
func (s apiServer) environment() []string {
	addr := s.Listener.Addr().(*net.TCPAddr)
	return []string{"KUBERNETES_SERVICE_HOST=" + addr.IP.String(), "KUBERNETES_SERVICE_PORT=" + strconv.Itoa(addr.Port)}
}

func (s apiServer) close() {
	s.CloseClientConnections()
	s.Close()
}
