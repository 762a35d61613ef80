// Package hook reaches detnet's webhook as the API server does: by the same
// configuration, at the same Service, trusting the same authority. The
// controller asks it about pods that exist.
package hook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
)

// Bounds of a call to the webhook.
const (
	patience  = 10 * time.Second
	maxAnswer = 8 << 20 // bytes
)

// Hook is a webhook by the name of its configuration.
type Hook struct {
	Client kubernetes.Interface
	Name   string // of the MutatingWebhookConfiguration
	// Certificate is shown to a webhook that asks who calls; nil: none.
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// Find reads the configuration's first entry: all of them are answered by the
// same Service.
func (h Hook) Find(ctx context.Context) (registrationv1.MutatingWebhook, error) {
	c, err := h.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, h.Name, metav1.GetOptions{})
	if err != nil {
		return registrationv1.MutatingWebhook{}, fmt.Errorf("find the webhook: %w", err)
	}
	if len(c.Webhooks) == 0 {
		return registrationv1.MutatingWebhook{}, fmt.Errorf("find the webhook: configuration %s has none", h.Name)
	}
	return c.Webhooks[0], nil
}

// Reach returns where and how to call what Find found. The caller closes it.
func (h Hook) Reach(ctx context.Context, entry registrationv1.MutatingWebhook) (Endpoint, error) {
	e, err := endpointOf(entry, h.clusterIP(ctx, entry.ClientConfig.Service))
	if err == nil {
		e.client.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = h.Certificate
	}
	return e, err
}

// clusterIP is the address of a Service; "" leaves it to DNS.
func (h Hook) clusterIP(ctx context.Context, ref *registrationv1.ServiceReference) string {
	if ref == nil {
		return ""
	}
	service, err := h.Client.CoreV1().Services(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil || service.Spec.ClusterIP == corev1.ClusterIPNone {
		return ""
	}
	return service.Spec.ClusterIP
}

// Concerns reports whether the webhook acts on a namespace, as far as its name
// tells.
func Concerns(entry registrationv1.MutatingWebhook, namespace string) (bool, error) {
	selector, err := metav1.LabelSelectorAsSelector(entry.NamespaceSelector)
	if err != nil {
		return false, fmt.Errorf("webhook %s: namespace selector: %w", entry.Name, err)
	}
	return selector.Matches(labels.Set{corev1.LabelMetadataName: namespace}), nil
}

// Endpoint is where and how to call a webhook.
type Endpoint struct {
	url    url.URL
	client *http.Client
}

// endpointOf reads a webhook's configuration as the API server does. clusterIP, if
// not empty, is dialled in place of the Service's name, for clusters without DNS.
func endpointOf(entry registrationv1.MutatingWebhook, clusterIP string) (Endpoint, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(entry.ClientConfig.CABundle) {
		return Endpoint{}, fmt.Errorf("webhook %s: no certificate authority yet", entry.Name)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}}
	e := Endpoint{client: &http.Client{Timeout: patience, Transport: transport}}
	if entry.ClientConfig.URL != nil {
		u, err := url.Parse(*entry.ClientConfig.URL)
		if err != nil {
			return Endpoint{}, fmt.Errorf("webhook %s: %w", entry.Name, err)
		}
		e.url = *u
		return e, nil
	}
	service := entry.ClientConfig.Service
	if service == nil {
		return Endpoint{}, fmt.Errorf("webhook %s: neither URL nor Service", entry.Name)
	}
	port := "443"
	if service.Port != nil {
		port = strconv.Itoa(int(*service.Port))
	}
	if clusterIP != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(clusterIP, port))
		}
	}
	e.url = url.URL{Scheme: "https", Host: net.JoinHostPort(service.Name+"."+service.Namespace+".svc", port)}
	if service.Path != nil {
		e.url.Path = *service.Path
	}
	return e, nil
}

// Close ends idle connections.
func (e Endpoint) Close() { e.client.CloseIdleConnections() }

// Post sends JSON and returns the answer, of whatever status. An empty path is
// the one that the API server calls.
func (e Endpoint) Post(ctx context.Context, path string, header http.Header, body []byte) (status int, answer []byte, err error) {
	u := e.url
	if path != "" {
		u.Path = path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("ask the webhook: %w", err)
	}
	for key, values := range header {
		req.Header[key] = values
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the webhook: %w", err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("ask the webhook: %w", err)
	}
	return resp.StatusCode, answer, nil
}
