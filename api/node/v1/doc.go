// Package nodev1 is the protocol between a nodelet and the control plane: node.proto and the code made from it.
package nodev1

//go:generate protoc --proto_path=../../.. --go_out=../../.. --go_opt=module=swell.dev/swell --go-grpc_out=../../.. --go-grpc_opt=module=swell.dev/swell api/node/v1/node.proto
