package agent

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Limits on a connection of a controller, which has one stream.
const (
	handshakeTime  = 10 * time.Second
	withoutStream  = time.Minute
	streamsOfOne   = maxStreams
	maxHeaderBytes = 16 << 10
)

// Bounds are the options of a gRPC server that serves agents' reports: what a
// connection may take, and how soon one that has died is noticed.
func Bounds() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, MaxConnectionIdle: withoutStream}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.MaxConcurrentStreams(streamsOfOne),
		grpc.MaxHeaderListSize(maxHeaderBytes),
	}
}
