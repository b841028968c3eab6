/**
 * A WebSocket client for browsers and the servers of websockets-simple.
 *
 * ```js
 * import { WebsocketClient } from "./websockets-simple.js";
 *
 * const client = new WebsocketClient("wss://chat.example/", {
 *   subprotocols: ["chat.v1"],
 *   token: async () => (await fetch("/ticket", { method: "POST" })).text(),
 * });
 * client.addEventListener("message", ({ detail }) => console.log(detail.data));
 * client.addEventListener("connected", () => client.sendPacket("hello"));
 * client.connect();
 * ```
 */
export class WebsocketClient extends EventTarget {
  /** Creates a client, which is idle until {@link connect}. */
  constructor(url: string | URL, options?: ClientOptions);

  readonly state: ConnectionState;

  /** The subprotocol that the server chose; `""` if none, or if not connected. */
  readonly subprotocol: string;

  /** Queued bytes that were not sent yet. */
  readonly bufferedAmount: number;

  /** Connects, and from then on reconnects after failures. Has no effect unless idle. */
  connect(): void;

  /**
   * Ends the connection or the attempt, and does not reconnect. Idle at once; messages that still arrive are ignored.
   * @throws if the code is neither 1000 nor 3000 to 4999, or the reason has more than 123 bytes. The connection stays.
   */
  disconnect(code?: number, reason?: string): void;

  /** Sends a message. @throws if not connected: nothing is queued for a later connection. */
  send(data: string | Blob | BufferSource): void;

  /** Sends a value as JSON. @throws if not connected. */
  sendJson(value: unknown): void;

  /** Sends the default packet: `{"Data":"..","Timestamp":".."}`. @throws if not connected. */
  sendPacket(data: string): void;

  addEventListener<K extends keyof ClientEvents>(
    kind: K,
    listener: (event: ClientEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    kind: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ClientEvents>(
    kind: K,
    listener: (event: ClientEvents[K]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    kind: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** The state of a client; `waiting` is the time until the next attempt. */
export type ConnectionState = "idle" | "connecting" | "connected" | "waiting";

export interface ClientOptions {
  /**
   * Called for a token before every attempt, and when the server reports that the credentials are about to expire. The
   * token is sent as the subprotocol `bearer.BASE64URL(TOKEN)`. Throw {@link NotAuthorized} if the user cannot get one:
   * the client becomes idle. After any other error it tries again later.
   */
  token?: () => string | undefined | Promise<string | undefined>;

  /** The subprotocols to offer, the preferred one first. */
  subprotocols?: string[];

  /**
   * Also offer `websockets-simple`. If the server chooses it, tokens are renewed over the open connection. Servers of
   * other libraries may choose nothing, which browsers refuse: set this to false for those. Default: true.
   */
  control?: boolean;

  /** Answer the text `ping` with `pong` and keep both from the application. Default: true. */
  answersTextPing?: boolean;

  /** Reconnect after a connection or an attempt has failed. Default: true. */
  reconnect?: boolean;

  /** Largest delay after the first failure, in milliseconds. It doubles with each further failure. Default: 500. */
  baseDelay?: number;

  /** Largest delay before any attempt, in milliseconds. Default: 30000. */
  maxDelay?: number;

  /** Milliseconds after which an open connection counts as a success and resets the delays. Default: 10000. */
  stableAfter?: number;

  /** Milliseconds that an attempt may take. Default: 20000. */
  connectTimeout?: number;

  /** Random numbers between 0 and 1 for the delays. Default: `Math.random`. */
  random?: () => number;

  /** Another implementation of WebSocket. Default: that of the browser. */
  WebSocket?: typeof WebSocket;
}

export class ClientEvent<T = unknown> extends Event {
  constructor(kind: string, detail: T);
  readonly detail: T;
}

export interface ClientEvents {
  state: ClientEvent<{ state: ConnectionState }>;
  connected: ClientEvent<{ subprotocol: string }>;
  message: ClientEvent<{ data: string | ArrayBuffer }>;
  /** Raised at the end of every connection and after every failed attempt. */
  disconnected: ClientEvent<Disconnected>;
  /** The server has accepted a new token. `expiresAt` is null if it never expires. */
  renewed: ClientEvent<{ expiresAt: string | null }>;
  /**
   * `connect`: the token provider failed, or the URL or a subprotocol is invalid. `token`: the credentials could not be
   * renewed; the connection stays until they expire. `control`: the server sent a malformed control message.
   */
  error: ClientEvent<{ stage: "connect" | "token" | "control"; error: unknown }>;
}

export interface Disconnected {
  /** 1006 if the connection was lost or never opened: browsers hide the reason, even that a token was refused. */
  code: number;
  reason: string;
  /** Whether the connection was open. */
  opened: boolean;
  /** Milliseconds until the next attempt; null if there is none. */
  reconnectIn: number | null;
}

/** The error that a token provider throws when the user cannot get a token. */
export class NotAuthorized extends Error {
  constructor(message?: string);
}

/** The close codes that a client may act on. Others exist. */
export const CloseCode: {
  readonly NORMAL: 1000;
  readonly GOING_AWAY: 1001;
  readonly PROTOCOL: 1002;
  readonly UNSUPPORTED: 1003;
  readonly ABNORMAL: 1006;
  readonly INVALID_DATA: 1007;
  readonly POLICY: 1008;
  readonly TOO_BIG: 1009;
  readonly INTERNAL: 1011;
  readonly RESTART: 1012;
  readonly TRY_AGAIN: 1013;
  readonly UNRESPONSIVE: 4000;
  readonly OVERFLOW: 4001;
  readonly IDLE: 4002;
  readonly EXPIRED: 4003;
  readonly REVOKED: 4004;
};

/** Whether a client should reconnect after this close code. */
export function shouldReconnect(code: number): boolean;

/**
 * Milliseconds to wait after this many failures: random, between 0 and `baseDelay * 2^failures`, at most `maxDelay`, so
 * that clients that were disconnected together do not reconnect together. After 1001, 1011, 1013 and 4001 (the server
 * stops, failed or is overloaded, or the client reads too slowly) it counts at least three failures.
 */
export function reconnectDelay(
  failures: number,
  code: number,
  options?: { baseDelay?: number; maxDelay?: number; random?: () => number },
): number;

/** Encodes the default packet as JSON. */
export function encodePacket(data: string, at?: Date): string;

/**
 * Decodes the default packet as leniently as the Rust and .NET libraries do: names in any case, `Data` also as a number
 * or a boolean. Any other text becomes the data of a packet with the current time. A missing timestamp is null.
 */
export function decodePacket(text: string): { data: string; timestamp: string | null };
