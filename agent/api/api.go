// Package api is the gRPC contract between controller and agent. agent.proto is
// the source; "make generate" makes the rest.
package api

//go:generate protoc --proto_path=. --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative agent.proto
