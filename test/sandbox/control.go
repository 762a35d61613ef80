package sandbox

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/detnet/detnet/test/sandbox/instance"
)

// StopNode ends a node at once, as a power cut would. Its disk stays.
func (c *Cluster) StopNode(ctx context.Context, node string) error {
	return c.order(ctx, node, "stop")
}

// StartNode starts a stopped node. It does not wait until the node is Ready.
// The uplink is unshaped.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	return c.order(ctx, node, "start")
}

// RestartNode stops and starts a running node. The uplink keeps its shape.
func (c *Cluster) RestartNode(ctx context.Context, node string) error {
	shaped, err := c.readUplink(node)
	if err != nil {
		return err
	}
	if err := c.StopNode(ctx, node); err != nil {
		return err
	}
	if err := c.StartNode(ctx, node); err != nil {
		return err
	}
	if shaped == nil {
		return nil
	}
	return c.ShapeUplink(ctx, node, shaped.Rate, shaped.Queue)
}

// StopAPIServer ends the API server; what is in etcd stays.
func (c *Cluster) StopAPIServer(ctx context.Context) error {
	return c.orderUnit(ctx, "kube-apiserver", "stop")
}

// StartAPIServer starts a stopped API server. It does not wait until it serves.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	return c.orderUnit(ctx, "kube-apiserver", "start")
}

func (c *Cluster) order(ctx context.Context, node, action string) error {
	if _, err := c.spec.Index(node); err != nil {
		return err
	}
	return c.orderUnit(ctx, node, action)
}

func (c *Cluster) orderUnit(ctx context.Context, unit, action string) error {
	if _, err := c.control(ctx, http.MethodPost, "/units/"+unit+"/"+action); err != nil {
		return fmt.Errorf("%s %s: %w", action, unit, err)
	}
	return nil
}

// control sends a request to the fabric's control server.
func (c *Cluster) control(ctx context.Context, method, path string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+instance.ControlAddr+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the fabric: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the fabric's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the fabric refused: %s", strings.TrimSpace(string(body)))
	}
	return body, nil
}
