// Package faultproxy puts a reverse proxy in front of a stand-in, so that a test
// can break chosen requests and see every request that a client sent.
//
// A test starts a Proxy, hands its URL to the client instead of the stand-in's,
// and adds rules. A Rule says which requests it matches, which of those it
// applies to, and the Fault that they meet: an error answer, a delay, or a
// connection that is cut before, while or after the server carried the request
// out. The test ends with an error when a rule was never applied, so that a test
// cannot pass because its fault did not happen.
//
//	proxy := faultproxy.Start(t, store.Endpoint)
//	// The second part of an upload is stored, and the client is not told.
//	proxy.Add(faultproxy.Rule{
//		Match: faultproxy.Match{Method: http.MethodPut, Path: `\.json\.gz$`, Query: "partNumber=2"},
//		Fault: faultproxy.LoseAnswer(),
//	})
//	export(t, proxy.URL)
//	for _, r := range proxy.Requests() {
//		if r.Method == http.MethodPut && r.Header.Get("X-Amz-Server-Side-Encryption") == "" {
//			t.Errorf("%s is not encrypted", r)
//		}
//	}
//
// Requests without a rule pass unchanged: method, target as it was written, Host,
// headers, trailers, and a body with or without a length. Signatures over the
// Host header hold, and servers that build URLs of it build the proxy's.
//
// The proxy speaks HTTP/1.1, over TLS with StartTLS.
package faultproxy
