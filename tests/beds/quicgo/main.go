// A QUIC front for a TCP server, on quic-go: the one stream of each connection is relayed byte for
// byte. What happens is told on standard output, one JSON object a line.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// fields of one line; "event" and "client", an address, are always among them.
type fields map[string]any

var output sync.Mutex

func tell(event string, client net.Addr, more fields) {
	line := fields{"event": event, "client": client.String()}
	for name, value := range more {
		line[name] = value
	}
	output.Lock()
	defer output.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		log.Fatal(err)
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "UDP address")
	backend := flag.String("backend", "", "TCP address of the server")
	cert := flag.String("cert", "", "certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	alpn := flag.String("alpn", "smb", "the only application protocol")
	noTickets := flag.Bool("notickets", false, "send no session tickets")
	window := flag.Uint64("window", 0, "bytes that a client may send unread; 0: as quic-go likes")
	early := flag.Bool("early", false, "take requests that come with a resumed handshake")
	flag.Parse()

	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	security := &tls.Config{
		Certificates:           []tls.Certificate{pair},
		ClientAuth:             tls.RequestClientCert,
		NextProtos:             []string{*alpn},
		SessionTicketsDisabled: *noTickets,
		// Changes nothing, but is asked before anything of the client is judged.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			tell("hello", hello.Conn.RemoteAddr(),
				fields{"server_name": hello.ServerName, "alpn": hello.SupportedProtos})
			return nil, nil
		},
	}
	listener, err := quic.ListenAddr(*listen, security, &quic.Config{
		Allow0RTT:                      *early,
		KeepAlivePeriod:                10 * time.Second,
		InitialStreamReceiveWindow:     *window,
		MaxStreamReceiveWindow:         *window,
		InitialConnectionReceiveWindow: *window,
		MaxConnectionReceiveWindow:     *window,
		MaxIncomingStreams:             1,
		MaxIncomingUniStreams:          -1,
	})
	if err != nil {
		log.Fatal(err)
	}
	tell("listening", listener.Addr(), nil)
	for {
		connection, err := listener.Accept(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection, *backend)
	}
}

// serve relays the one stream of a connection until either end has had enough.
func serve(connection *quic.Conn, backend string) {
	security := connection.ConnectionState().TLS
	subject := ""
	if shown := security.PeerCertificates; len(shown) > 0 {
		subject = shown[0].Subject.String()
	}
	tell("connection", connection.RemoteAddr(), fields{
		"server_name": security.ServerName, "alpn": security.NegotiatedProtocol,
		"certificate": subject, "resumed": security.DidResume,
		"early": connection.ConnectionState().Used0RTT,
	})
	go watch(connection)
	var toBackend, toClient atomic.Int64
	reason := "the client has gone"
	if err := relay(connection, backend, &toBackend, &toClient); err != nil {
		reason = err.Error()
	}
	_ = connection.CloseWithError(0, reason)
	tell("ended", connection.RemoteAddr(), fields{
		"to_backend": toBackend.Load(), "to_client": toClient.Load(), "reason": reason,
	})
}

// relay returns when one of the two directions has ended, and why if it was not in good order.
func relay(connection *quic.Conn, backend string, toBackend, toClient *atomic.Int64) error {
	stream, err := connection.AcceptStream(context.Background())
	if err != nil {
		return err
	}
	server, err := net.Dial("tcp", backend)
	if err != nil {
		return err
	}
	defer server.Close()
	ended := make(chan error, 2)
	go func() { ended <- copyTo(server, stream, toBackend) }()
	go func() { ended <- copyTo(stream, server, toClient) }()
	return <-ended
}

func copyTo(target io.Writer, source io.Reader, count *atomic.Int64) error {
	piece := make([]byte, 1<<18)
	for {
		size, err := source.Read(piece)
		if size > 0 {
			written, failure := target.Write(piece[:size])
			count.Add(int64(written))
			if failure != nil {
				return failure
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// watch tells when the client speaks from another address. Nobody tells us, so we look.
func watch(connection *quic.Conn) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	before := connection.RemoteAddr()
	for {
		select {
		case <-connection.Context().Done():
			return
		case <-ticker.C:
			if now := connection.RemoteAddr(); now.String() != before.String() {
				tell("migrated", now, fields{"from": before.String()})
				before = now
			}
		}
	}
}
