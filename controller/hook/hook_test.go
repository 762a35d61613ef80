package hook

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
)

func TestEndpoint(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+r.URL.Path)
	}))
	defer server.Close()
	host, portText, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(portText, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	path, port32 := "/mutate", int32(port)
	entry := registrationv1.MutatingWebhook{ClientConfig: registrationv1.WebhookClientConfig{
		CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		Service:  &registrationv1.ServiceReference{Name: "detnet-webhook", Namespace: "detnet", Path: &path, Port: &port32},
	}}
	e, err := endpointOf(entry, host)
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://detnet-webhook.detnet.svc:" + portText + "/mutate"; e.url.String() != want {
		t.Errorf("URL = %s, want %s", e.url.String(), want)
	}
	// Reached by address, and refused: the certificate is for another name.
	r, err := e.client.Get(e.url.String())
	if err == nil {
		r.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "detnet-webhook.detnet.svc") {
		t.Errorf("a server with another name on its certificate is trusted: %v", err)
	}
	for name, change := range map[string]func(*registrationv1.WebhookClientConfig){
		"no authority": func(c *registrationv1.WebhookClientConfig) { c.CABundle = nil },
		"no address":   func(c *registrationv1.WebhookClientConfig) { c.Service = nil },
	} {
		broken := entry
		change(&broken.ClientConfig)
		if _, err := endpointOf(broken, ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
