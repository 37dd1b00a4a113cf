# One static binary and an empty data folder. Built by scripts/image.sh, which puts both beside this file;
# nothing is pulled.
FROM scratch
COPY conclave /conclave
COPY --chown=10001:10001 cluster /cluster
USER 10001:10001
ENTRYPOINT ["/conclave"]
CMD ["start"]
