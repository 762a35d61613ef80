package agents

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
)

// dialer makes the connections of all streams, one for each, and keeps once for all of them
// what gRPC keeps for each ClientConn: three goroutines, a resolver and a balancer, where
// there are thousands of agents, and nothing to resolve or to balance. Its balancer makes
// a SubConn at each dial, on which the one stream is opened without a picker.
type dialer struct {
	shared   *grpc.ClientConn
	built    chan struct{} // closed once subConns is there
	subConns balancer.ClientConn
	once     sync.Once
}

// buffer is what a connection may hold that waits to be sent, octets: there are two for
// each node, assignments are small, and gRPC's own is 32 KiB. What is read waits in the
// records of TLS already.
const buffer = 4 << 10

// flowWindow is what an agent may send before it is read, octets: the least that HTTP/2
// knows, and hundreds of reports. A window that grows is measured by a ping and its
// answer for each report.
const flowWindow = 64 << 10

// headers is what an agent may say beside its reports, octets: gRPC's own is 16 MiB, and why
// a stream ends is among them.
const headers = 8 << 10

// everyAgent is the name of the resolver and of the balancer.
const everyAgent = "detnet-agents"

func init() { balancer.Register(connecting{}) } // which gRPC takes at no other time

func newDialer(creds credentials.TransportCredentials) (*dialer, error) {
	d := &dialer{built: make(chan struct{})}
	var err error
	d.shared, err = grpc.NewClient(everyAgent+":///agents", grpc.WithTransportCredentials(creds),
		grpc.WithResolvers(d), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+everyAgent+`":{}}]}`),
		grpc.WithContextDialer(connect), grpc.WithIdleTimeout(0),
		grpc.WithMaxHeaderListSize(headers), grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(buffer),
		grpc.WithStaticStreamWindowSize(flowWindow), grpc.WithStaticConnWindowSize(flowWindow))
	if err != nil {
		return nil, fmt.Errorf("prepare connections to agents: %w", err)
	}
	d.shared.Connect()
	return d, nil
}

// close ends what is left.
func (d *dialer) close() { _ = d.shared.Close() } // it was open

// connection is that of one stream.
type connection struct {
	sub    balancer.SubConn
	states chan balancer.SubConnState // that say how dialling went: the first
	calls  grpc.ClientConnInterface

	mu   sync.Mutex
	conn net.Conn // nil: not connected yet
	gone bool
}

type connectionKey struct{}

var errUnstable = errors.New("the connection ended as it stood")

// dial connects to an agent at addr. It must be closed.
func (d *dialer) dial(ctx context.Context, addr string) (*connection, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-d.built:
	}
	c := &connection{states: make(chan balancer.SubConnState, 1)}
	var err error
	at := resolver.Address{Addr: addr, Attributes: attributes.New(connectionKey{}, c)}
	if c.sub, err = d.subConns.NewSubConn([]resolver.Address{at}, balancer.NewSubConnOptions{StateListener: c.became}); err != nil {
		return nil, err
	}
	c.sub.Connect()
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case s := <-c.states:
		switch s.ConnectivityState {
		case connectivity.Ready:
			c.sub.GetOrBuildProducer(c)
		case connectivity.TransientFailure:
			err = s.ConnectionError
		default:
			err = errUnstable
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// became tells dial of the first state in which it needs to wait no longer.
func (c *connection) became(s balancer.SubConnState) {
	if s.ConnectivityState == connectivity.Connecting {
		return
	}
	select {
	case c.states <- s:
	default:
	}
}

// Build implements balancer.ProducerBuilder: so gRPC hands out what calls go by that are
// for one SubConn.
func (c *connection) Build(calls any) (balancer.Producer, func()) {
	c.calls = calls.(grpc.ClientConnInterface)
	return nil, func() {}
}

// close ends the connection, whatever waits to be sent.
func (c *connection) close() {
	c.sub.Shutdown()
	c.mu.Lock()
	c.gone = true
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // gRPC may have done so
	}
}

// connect is gRPC's dialler. That a peer is gone is for the watchdog to find, not for TCP.
func connect(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(connectionKey{}).(*connection)
	c.mu.Lock()
	c.conn = conn
	gone := c.gone
	c.mu.Unlock()
	if gone {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	return conn, nil
}

// Scheme and Build implement resolver.Builder: there is one address, which stands for all.
func (*dialer) Scheme() string { return everyAgent }
func (d *dialer) Build(_ resolver.Target, to resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	err := to.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: everyAgent}}, Attributes: attributes.New(dialerKey{}, d)})
	return d, err
}

// ResolveNow and Close implement resolver.Resolver.
func (*dialer) ResolveNow(resolver.ResolveNowOptions) {}
func (*dialer) Close()                                {}

type dialerKey struct{}

// connecting implements balancer.Builder: what it builds gives a dialer what makes
// SubConns, and balances nothing.
type connecting struct{}

func (connecting) Name() string { return everyAgent }
func (connecting) Build(by balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return balancing{by}
}

type balancing struct{ subConns balancer.ClientConn }

func (b balancing) UpdateClientConnState(s balancer.ClientConnState) error {
	d := s.ResolverState.Attributes.Value(dialerKey{}).(*dialer)
	d.once.Do(func() { d.subConns = b.subConns; close(d.built) })
	return nil
}
func (balancing) ResolverError(error)                                        {}
func (balancing) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {} // each has a listener
func (balancing) Close()                                                     {}
func (balancing) ExitIdle()                                                  {}
