# One static binary and an empty folder for data. Built by scripts/image.sh, which puts both beside this file;
# nothing is pulled. To build everything inside Docker instead: Dockerfile.build, which ends in the same lines.
FROM scratch
COPY conclave /conclave
COPY --chown=10001:10001 data /var/lib/conclave
# The key file lies beside the data unless a setting says otherwise: both are in this one volume then.
ENV CONCLAVE_DATA=/var/lib/conclave/data \
    CONCLAVE_HTTP_LISTEN=0.0.0.0:8080 \
    CONCLAVE_PEER_LISTEN=0.0.0.0:9080
USER 10001:10001
EXPOSE 8080 9080
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=30s CMD ["/conclave", "health"]
ENTRYPOINT ["/conclave"]
CMD ["start"]
