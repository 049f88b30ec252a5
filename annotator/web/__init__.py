"""What `serve` offers over HTTP.

secret --> links --> app --+-- viewer    /r/PAIR/NUMBER/TOKEN/NAME, /p/SHA256/TOKEN/NAME: pictures, mesh, 3D page
                           +-- gallery   /gallery: all pairs, filtered
                           +-- health    /healthz, /metrics
"""
